package org.glance4j.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PictureSetTest {
  @TempDir Path folder;

  /** A coloured rectangle on nothing. */
  private static BufferedImage picture(int size, Color colour, int left, int width) {
    BufferedImage image = new BufferedImage(size, size, BufferedImage.TYPE_INT_ARGB);
    Graphics2D g = image.createGraphics();
    g.setColor(colour);
    g.fillRect(left * size / 64, size / 4, width * size / 64, size / 2);
    g.dispose();
    return image;
  }

  private void write(String name, BufferedImage image) throws IOException {
    ImageIO.write(image, "png", folder.resolve(name).toFile());
  }

  private PictureSet set() throws IOException {
    write("red left.png", picture(64, Color.RED, 0, 20));
    write("blue left.png", picture(64, Color.BLUE, 0, 20));
    write("red%3A middle.png", picture(64, Color.RED, 24, 20));
    Files.writeString(folder.resolve("labels.txt"), "no picture");
    return PictureSet.read(folder);
  }

  @Test
  void findsTheNearest() throws IOException {
    PictureSet set = set();
    assertEquals(3, set.size());
    assertEquals("red left", set.nearest(picture(64, new Color(180, 30, 30), 2, 20)));
    assertEquals("blue left", set.nearest(picture(128, new Color(30, 30, 180), 0, 18)));
    assertEquals("red: middle", set.nearest(picture(64, Color.RED, 22, 20)));
  }

  @Test
  void aMirrorImageIsThePicture() throws IOException {
    assertEquals("blue left", set().nearest(picture(64, Color.BLUE, 44, 20)));
  }

  @Test
  void transparencyIsWhite() throws IOException {
    write("black.png", picture(64, Color.BLACK, 0, 64));
    write("nothing.png", picture(64, Color.RED, 0, 0));
    BufferedImage white = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = white.createGraphics();
    g.setColor(Color.WHITE);
    g.fillRect(0, 0, 64, 64);
    g.dispose();
    assertEquals("nothing", PictureSet.read(folder).nearest(white));
  }

  @Test
  void saysWhatIsWrong() throws IOException {
    assertRefused(folder, "has no file NAME.png");
    assertRefused(folder.resolve("none"), "is not a folder of pictures");
    Files.writeString(folder.resolve("a.png"), "no picture");
    assertRefused(folder, "a.png: is not a readable picture");
    Files.delete(folder.resolve("a.png"));
    PictureSet set = set();
    set.requireAny(List.of("green left", "red: middle"));
    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () -> set.requireAny(List.of("green left", "blue")))
                .getMessage());
    assertTrue(message.contains("\"green left\""), message);
    write("50% grey.png", picture(64, Color.GRAY, 0, 64));
    assertRefused(folder, "write %25");
  }

  private static void assertRefused(Path folder, String part) {
    String message =
        String.valueOf(
            assertThrows(ModelFormatException.class, () -> PictureSet.read(folder)).getMessage());
    assertTrue(message.contains(part), message);
  }
}
