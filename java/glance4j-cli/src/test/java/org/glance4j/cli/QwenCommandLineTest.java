package org.glance4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.glance4j.Recipe;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The commands on a Qwen-Image folder: the random weights in the library's reference data, which
 * {@code -Dglance.reference} may replace.
 */
class QwenCommandLineTest {
  private static final int SIDE = 64;
  private static final Path MODEL =
      Path.of(System.getProperty("glance.reference", "../glance4j/target/reference"))
          .resolve("qwen-image-tiny-random");

  @TempDir Path folder;

  @BeforeAll
  static void requireModel() {
    assumeTrue(Files.isDirectory(MODEL), "no Qwen-Image in this reference folder");
  }

  /** {@code DIR} stands for the test's folder, {@code MODEL} for the model's. */
  private Outcome run(String line) {
    String filled = line.replace("DIR", folder.toString()).replace("MODEL", MODEL.toString());
    Outcome outcome = Outcome.of(filled.split(" "));
    assertEquals(0, outcome.exitCode(), outcome.err());
    return outcome;
  }

  private void assertPicture(String name) throws IOException {
    BufferedImage picture = ImageIO.read(folder.resolve(name).toFile());
    assertEquals(SIDE, picture.getWidth());
    assertEquals(SIDE, picture.getHeight());
  }

  @Test
  void generatesAPictureAndRepeatsIt() throws IOException {
    run("generate cat --model MODEL --width 64 --height 64 --cfg 4 --steps 2 -o DIR/a.png");
    assertPicture("a.png");
    assertEquals(4, Recipe.read(folder.resolve("a.png")).request().cfg());
    Outcome again = run("repeat DIR/a.png");
    assertTrue(again.out().contains("same pixels"), again.out());
  }

  @Test
  void inspectTellsComponentsAndMemory() {
    Outcome inspect = run("inspect MODEL");
    for (String line :
        List.of(
            "transformer: \\d+ tensors, .*",
            "text_encoder: \\d+ tensors, .*",
            "vae: \\d+ tensors, .*",
            " +text_encoder +[\\d.]+ MB +[\\d.]+ MB.*",
            " +transformer +[\\d.]+ MB +[\\d.]+ MB.*",
            " +vae +[\\d.]+ MB +[\\d.]+ MB.*",
            " +workspace, \\d+x\\d+ with CFG +[\\d.]+ MB.*",
            " +peak, parts taking turns +[\\d.]+ MB.*")) {
      assertTrue(inspect.out().lines().anyMatch(l -> l.matches(line)), line);
    }
  }

  @Test
  void generateTakesTheAdaptersThatTrainWrites() throws IOException {
    drawPicture();
    run(
        "train --model MODEL --target flow --image DIR/sample.png --caption circle --steps 2"
            + " -o DIR/adapters");
    run(
        "generate circle --model MODEL --width 64 --height 64 -o DIR/b.png"
            + " --slow-lora DIR/adapters/slow.safetensors"
            + " --fast-lora DIR/adapters/fast.safetensors");
    assertPicture("b.png");
    Recipe recipe = Recipe.read(folder.resolve("b.png"));
    assertEquals("glance", String.valueOf(recipe.request().schedule()));
  }

  /** A strip: its longer side is scaled to the model's, which is far from the test's 64. */
  private void drawPicture() throws IOException {
    BufferedImage picture = new BufferedImage(256, 16, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = picture.createGraphics();
    graphics.setColor(Color.ORANGE);
    graphics.fillOval(100, 2, 12, 12);
    graphics.dispose();
    ImageIO.write(picture, "png", folder.resolve("sample.png").toFile());
  }
}
