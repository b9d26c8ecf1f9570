package org.glance4j.cli;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.Callable;
import org.glance4j.AtomicFile;
import org.glance4j.GeneratedImage;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageRequest;
import org.glance4j.Latents;
import org.glance4j.PngFile;
import org.glance4j.Recipe;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code glance repeat}: makes a picture again from its PNG's text chunks. */
@Command(
    name = "repeat",
    description = "Makes a picture again from the request in its PNG file.",
    mixinStandardHelpOptions = true)
final class RepeatCommand implements Callable<Integer> {
  @Parameters(paramLabel = "IMAGE.png", description = "A picture made by glance generate.")
  Path image = Path.of("");

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE.png",
      description = "Default: IMAGE-repeat.png.")
  @Nullable Path output;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Where the model is now. Default: where it was.")
  @Nullable Path model;

  @Option(
      names = "--slow-lora",
      paramLabel = "FILE",
      description = "Where the SLOW phase's adapter is now. Default: where it was.")
  @Nullable Path slowLora;

  @Option(
      names = "--fast-lora",
      paramLabel = "FILE",
      description = "Where the FAST phase's adapter is now. Default: where it was.")
  @Nullable Path fastLora;

  @Option(
      names = "--latents-in",
      paramLabel = "FILE",
      description = "The latents the picture started from, if it did not start from noise.")
  @Nullable Path latentsIn;

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() throws IOException {
    Path target = output == null ? FileNames.withSuffix(image, "-repeat") : output;
    Recipe recipe = Recipe.read(image);
    if (recipe.customLatents() && latentsIn == null) {
      throw new IllegalArgumentException(
          image + " started from the caller's own latents; give them with --latents-in");
    }
    AtomicFile.requireWritable(target);
    // Read now: the target may be this very file.
    BufferedImage original = PngFile.readImage(image);
    try (Glance glance = load(recipe);
        ShutdownGuard guard = new ShutdownGuard(glance);
        Progress progress = Progress.start(true)) {
      ImageRequest request =
          recipe.request().toBuilder()
              .initialLatents(latentsIn == null ? null : Latents.read(latentsIn))
              .listener(progress)
              .build();
      GeneratedImage again = glance.generate(request).image();
      progress.close();
      again.writePng(target);
      spec.commandLine()
          .getOut()
          .println(
              target
                  + (samePixels(original, again) ? ": same pixels as " : ": differs from ")
                  + image);
      spec.commandLine().getOut().flush();
    }
    return 0;
  }

  private Glance load(Recipe recipe) {
    GlanceOptions then = recipe.options();
    GlanceOptions options =
        then.toBuilder()
            .slowLora(slowLora == null ? then.slowLora() : slowLora)
            .fastLora(fastLora == null ? then.fastLora() : fastLora)
            .build();
    Path folder = model == null ? recipe.model() : model;
    return folder == null ? Glance.loadBundled(options) : Glance.load(folder, options);
  }

  private static boolean samePixels(BufferedImage original, GeneratedImage again) {
    int width = again.width();
    int height = again.height();
    return original.getWidth() == width
        && original.getHeight() == height
        && Arrays.equals(
            original.getRGB(0, 0, width, height, null, 0, width),
            again.toBufferedImage().getRGB(0, 0, width, height, null, 0, width));
  }
}
