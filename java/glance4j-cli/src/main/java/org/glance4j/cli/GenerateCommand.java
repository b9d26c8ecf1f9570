package org.glance4j.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.glance4j.AtomicFile;
import org.glance4j.ContactSheet;
import org.glance4j.GeneratedImage;
import org.glance4j.Generation;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code glance generate}: from a prompt to a PNG. */
@Command(
    name = "generate",
    description = "Draws a picture from a prompt.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class GenerateCommand implements Callable<Integer> {
  @Mixin RequestOptions requestOptions = new RequestOptions();
  @Mixin ModelOptions modelOptions = new ModelOptions();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE.png",
      required = true,
      description =
          "The picture. With --count, FILE-1.png ... and the contact sheet FILE-sheet.png.")
  Path output = Path.of("");

  @Option(
      names = "--latents-out",
      paramLabel = "FILE",
      description = "Also write the final packed latents (safetensors).")
  @Nullable Path latentsOut;

  @Option(
      names = "--json",
      description = "Print one line of JSON: files, seconds, preset, steps, phases, peak memory.")
  boolean json;

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() throws IOException {
    AtomicFile.requireWritable(output);
    if (latentsOut != null) {
      if (latentsOut.toAbsolutePath().normalize().equals(output.toAbsolutePath().normalize())) {
        throw new IllegalArgumentException(
            "--output and --latents-out are the same file: " + output);
      }
      AtomicFile.requireWritable(latentsOut);
    }
    // Built before the model is loaded, which may take minutes.
    ImageRequest request = requestOptions.request();
    modelOptions.requireUseOf(request.schedule());
    long start = System.nanoTime();
    try (Glance glance = modelOptions.load();
        ShutdownGuard guard = new ShutdownGuard(glance);
        Progress progress = Progress.start(!json)) {
      double loadSeconds = (System.nanoTime() - start) / 1e9;
      Generation generation = glance.generate(request.toBuilder().listener(progress).build());
      progress.close();
      List<Path> files = write(generation.images());
      if (json) {
        spec.commandLine()
            .getOut()
            .println(Report.json(generation, glance.options(), files, loadSeconds));
      } else {
        files.forEach(file -> spec.commandLine().getOut().println(file));
      }
      spec.commandLine().getOut().flush();
    }
    return 0;
  }

  private List<Path> write(List<GeneratedImage> images) throws IOException {
    List<Path> files = new ArrayList<>();
    boolean several = images.size() > 1;
    for (int i = 0; i < images.size(); i++) {
      String suffix = several ? "-" + (i + 1) : "";
      Path file = FileNames.withSuffix(output, suffix);
      images.get(i).writePng(file);
      files.add(file);
      if (latentsOut != null) {
        images.get(i).latents().write(FileNames.withSuffix(latentsOut, suffix));
      }
    }
    if (several) {
      Path sheet = FileNames.withSuffix(output, "-sheet");
      ContactSheet.write(sheet, images, (int) Math.ceil(Math.sqrt(images.size())));
      files.add(sheet);
    }
    return files;
  }
}
