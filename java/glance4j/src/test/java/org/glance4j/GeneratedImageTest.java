package org.glance4j;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.glance4j.schedule.ScheduleSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GeneratedImageTest {
  @TempDir Path folder;

  private GeneratedImage draw(Glance glance) {
    ImageRequest request =
        ImageRequest.builder("Käse & \"Brot\"\n\ud83c\udf4e")
            .negativePrompt("blau")
            .cfg(2.5)
            .seed(-3)
            .schedule(ScheduleSpec.glance(3, 5))
            .build();
    return glance.generate(request).image();
  }

  @Test
  void pngCarriesPixelsAndRecipe() throws IOException {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      GeneratedImage image = draw(glance);
      Path file = folder.resolve("bild ü.png");
      image.writePng(file);
      Recipe recipe = Recipe.read(file);
      assertEquals(image.recipe().toJson(), recipe.toJson());
      assertEquals(image.recipe().request().prompt(), recipe.request().prompt());
      assertArrayEquals(
          image.rgb(), glance.generate(recipe.request()).image().rgb(), "repeated picture");
      assertEquals(image.toBufferedImage().getRGB(10, 20), PngFile.readImage(file).getRGB(10, 20));
    }
  }

  @Test
  void latentsFileRoundTrips() throws IOException {
    try (Glance glance = Glance.load(TestModels.TINY)) {
      Latents latents = draw(glance).latents();
      Path file = folder.resolve("latents.safetensors");
      latents.write(file);
      assertArrayEquals(latents.values(), Latents.read(file).values());
    }
  }

  @Test
  void failedWriteLeavesNothing() throws IOException {
    Path target = folder.resolve("out.png");
    assertError(
        IOException.class,
        () ->
            AtomicFile.write(
                target,
                out -> {
                  out.write(new byte[100]);
                  throw new IOException("No space left on device");
                }),
        "out.png",
        "No space left");
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(0, left.count());
    }
    assertThrows(IOException.class, () -> AtomicFile.requireWritable(folder));
    assertThrows(
        IOException.class, () -> AtomicFile.requireWritable(folder.resolve("no/such/a.png")));
  }

  @Test
  void foreignPngHasNoRecipe() throws IOException {
    Path text = Files.writeString(folder.resolve("a.png"), "not a picture");
    assertThrows(ModelFormatException.class, () -> Recipe.read(text));
  }
}
