package org.glance4j.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.glance4j.ContactSheet;
import org.glance4j.GeneratedImage;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;

/**
 * Draws every benchmark prompt with the bundled model, 50 steps and CFG 3.5, on one sheet.
 *
 * <p>Argument: the PNG file to write.
 */
public final class SamplePictures {
  private static final int COLUMNS = 8;

  private SamplePictures() {}

  /** Draws the sheet. */
  public static void main(String[] arguments) throws IOException {
    try (Glance glance = Glance.loadBundled()) {
      List<GeneratedImage> images =
          Prompts.ALL.stream().map(prompt -> draw(glance, prompt)).toList();
      ContactSheet.write(Path.of(arguments[0]), images, COLUMNS);
    }
  }

  private static GeneratedImage draw(Glance glance, String prompt) {
    return glance.generate(ImageRequest.builder(prompt).cfg(3.5).seed(1).build()).image();
  }
}
