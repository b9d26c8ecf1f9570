package org.glance4j;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;

/** Several images in one picture. */
public final class ContactSheet {
  private static final int GAP = 4;

  private ContactSheet() {}

  /**
   * A row of a labelled sheet.
   *
   * @param label at its left
   * @param note below the label, paler; may be empty
   * @param images from left to right
   */
  public record Row(String label, String note, List<GeneratedImage> images) {
    /** Copies the list. */
    public Row {
      images = List.copyOf(images);
    }
  }

  /**
   * Writes a PNG file of rows with their labels at the left and a caption above each column, on
   * white. Images below 96 pixels are enlarged by a whole factor, above 160 they are reduced.
   *
   * @param captions one for each column, at least one
   * @param rows at least one, each with an image for each caption, all of one size
   */
  public static void write(Path file, List<String> captions, List<Row> rows) throws IOException {
    write(file, LabelledSheet.draw(captions, rows));
  }

  /**
   * Writes a PNG file of all images, row by row, on white.
   *
   * @param images at least one, all of one size
   * @param columns images in a row, at least 1
   */
  public static void write(Path file, List<GeneratedImage> images, int columns) throws IOException {
    write(file, draw(images, columns));
  }

  private static void write(Path file, BufferedImage sheet) throws IOException {
    AtomicFile.write(
        file,
        out -> {
          if (!ImageIO.write(sheet, "png", out)) {
            throw new IOException("this Java has no PNG writer");
          }
        });
  }

  private static BufferedImage draw(List<GeneratedImage> images, int columns) {
    if (images.isEmpty() || columns < 1) {
      throw new IllegalArgumentException(
          images.size() + " images in " + columns + " columns; both must be at least 1");
    }
    int rows = (images.size() + columns - 1) / columns;
    int cellWidth = images.get(0).width() + GAP;
    int cellHeight = images.get(0).height() + GAP;
    BufferedImage sheet =
        new BufferedImage(
            columns * cellWidth + GAP, rows * cellHeight + GAP, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = sheet.createGraphics();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
    for (int i = 0; i < images.size(); i++) {
      graphics.drawImage(
          images.get(i).toBufferedImage(),
          GAP + i % columns * cellWidth,
          GAP + i / columns * cellHeight,
          null);
    }
    graphics.dispose();
    return sheet;
  }
}
