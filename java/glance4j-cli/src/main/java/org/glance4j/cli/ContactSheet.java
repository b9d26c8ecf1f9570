package org.glance4j.cli;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.glance4j.AtomicFile;
import org.glance4j.GeneratedImage;

/** All images of a request in one picture, row by row. */
final class ContactSheet {
  private static final int GAP = 4;

  private ContactSheet() {}

  static void write(Path file, List<GeneratedImage> images) throws IOException {
    BufferedImage sheet = draw(images);
    AtomicFile.write(
        file,
        out -> {
          if (!ImageIO.write(sheet, "png", out)) {
            throw new IOException("this Java has no PNG writer");
          }
        });
  }

  private static BufferedImage draw(List<GeneratedImage> images) {
    int columns = (int) Math.ceil(Math.sqrt(images.size()));
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
