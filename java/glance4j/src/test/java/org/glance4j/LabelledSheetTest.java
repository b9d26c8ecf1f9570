package org.glance4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LabelledSheetTest {
  private static final int[] COLOURS = {0xff0000, 0x00ff00, 0x0000ff, 0xffff00};

  @TempDir Path folder;

  private static GeneratedImage picture(int size, int colour) {
    byte[] rgb = new byte[size * size * 3];
    for (int i = 0; i < rgb.length; i++) {
      rgb[i] = (byte) (colour >> (16 - 8 * (i % 3)));
    }
    ImageRequest request = ImageRequest.builder("").build();
    return new GeneratedImage(
        size,
        size,
        rgb,
        new Latents(1, 1, new float[1]),
        new Recipe(null, GlanceOptions.DEFAULTS, request, false));
  }

  private BufferedImage sheet(int size) throws IOException {
    List<ContactSheet.Row> rows =
        List.of(
            new ContactSheet.Row(
                "first", "note", List.of(picture(size, COLOURS[0]), picture(size, COLOURS[1]))),
            new ContactSheet.Row(
                "second", "", List.of(picture(size, COLOURS[2]), picture(size, COLOURS[3]))));
    Path file = folder.resolve(size + ".png");
    ContactSheet.write(file, List.of("a", "b"), rows);
    return PngFile.readImage(file);
  }

  /** Left, top, right and bottom of the pixels of one colour, and how many they are. */
  private static int[] box(BufferedImage image, int colour) {
    int[] box = {image.getWidth(), image.getHeight(), -1, -1, 0};
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        if ((image.getRGB(x, y) & 0xffffff) == colour) {
          box[0] = Math.min(box[0], x);
          box[1] = Math.min(box[1], y);
          box[2] = Math.max(box[2], x);
          box[3] = Math.max(box[3], y);
          box[4]++;
        }
      }
    }
    return box;
  }

  @Test
  void picturesStandInRowsAndColumnsAndAreScaledToBeSeen() throws IOException {
    for (int[] sizes : new int[][] {{64, 128}, {40, 120}, {128, 128}, {320, 160}}) {
      BufferedImage image = sheet(sizes[0]);
      int[][] boxes = new int[4][];
      for (int i = 0; i < 4; i++) {
        boxes[i] = box(image, COLOURS[i]);
        assertEquals(sizes[1] * sizes[1], boxes[i][4], "pixels of colour " + i);
        assertEquals(sizes[1] - 1, boxes[i][2] - boxes[i][0]);
      }
      assertTrue(boxes[0][2] < boxes[1][0] && boxes[0][1] == boxes[1][1]);
      assertTrue(boxes[0][3] < boxes[2][1] && boxes[0][0] == boxes[2][0]);
      assertTrue(boxes[2][2] < boxes[3][0] && boxes[1][0] == boxes[3][0]);
      assertTrue(inked(image, boxes[0][0]) > 50, "no labels at the left");
    }
  }

  private static int inked(BufferedImage image, int right) {
    int inked = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < right; x++) {
        inked += (image.getRGB(x, y) & 0xff) < 0x80 ? 1 : 0;
      }
    }
    return inked;
  }

  @Test
  void longTextIsWrappedAndThenCut() {
    FontMetrics metrics =
        new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB)
            .createGraphics()
            .getFontMetrics(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    int width = metrics.stringWidth("two words");
    assertEquals(
        List.of("two words", "more"), LabelledSheet.wrapped(" two words more ", metrics, width, 3));
    assertEquals(List.of(), LabelledSheet.wrapped("", metrics, width, 3));
    List<String> cut = LabelledSheet.wrapped("a b immeasurablelength", metrics, width, 3);
    assertEquals("a b", cut.get(0));
    assertTrue(cut.get(1).startsWith("imm") && cut.get(1).endsWith("…"), cut.toString());
    assertTrue(metrics.stringWidth(cut.get(1)) <= width);
    List<String> few = LabelledSheet.wrapped("words words words words words", metrics, width, 2);
    assertEquals(2, few.size());
    assertTrue(few.get(1).endsWith("…"), few.toString());
  }

  @Test
  void rowsMustBeFull() {
    ContactSheet.Row row = new ContactSheet.Row("first", "", List.of(picture(64, 0)));
    assertThrows(
        IllegalArgumentException.class,
        () -> ContactSheet.write(folder.resolve("a.png"), List.of("a", "b"), List.of(row)));
    assertThrows(
        IllegalArgumentException.class,
        () -> ContactSheet.write(folder.resolve("a.png"), List.of(), List.of(row)));
  }
}
