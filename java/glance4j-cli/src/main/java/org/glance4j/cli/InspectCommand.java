package org.glance4j.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.Glance;
import org.glance4j.Preset;
import org.glance4j.weights.ModelInventory;
import org.glance4j.weights.ModelInventory.Component;
import org.glance4j.weights.SafetensorsHeader;
import org.glance4j.weights.TensorInfo;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code glance inspect}: what a model or adapter holds. Reads headers only. */
@Command(
    name = "inspect",
    description = "Lists a model's or adapter's tensors, sizes and the memory they need.",
    mixinStandardHelpOptions = true)
final class InspectCommand implements Callable<Integer> {
  @Parameters(
      arity = "0..1",
      paramLabel = "DIR|FILE",
      description =
          "A model folder, one of its parts, or a safetensors file. Default: bundled model.")
  @Nullable Path path;

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() {
    Path inspected = path == null ? Glance.bundledModelFolder() : path;
    ModelInventory inventory = ModelInventory.of(inspected);
    PrintWriter out = spec.commandLine().getOut();
    inventory.components().forEach(component -> print(out, component));
    out.printf(
        Locale.ROOT,
        "%d parameters, %s in files; as f32 %s, as bf16 %s%n",
        inventory.parameters(),
        megabytes(inventory.bytes()),
        megabytes(inventory.bytesAs(ScalarType.Float)),
        megabytes(inventory.bytesAs(ScalarType.BFloat16)));
    if (Files.exists(inspected.resolve("model_index.json"))) {
      MemoryTable.print(out, inspected);
    }
    Preset.readAll(inspected).values().forEach(preset -> print(out, preset));
    out.flush();
    return 0;
  }

  private static void print(PrintWriter out, Component component) {
    out.printf(
        Locale.ROOT,
        "%s: %d tensors, %d parameters, %s %s%n",
        component.name(),
        component.tensors().size(),
        component.parameters(),
        megabytes(component.bytes()),
        component.bytesByDtype().keySet());
    for (SafetensorsHeader file : component.files()) {
      file.metadata().forEach((key, value) -> out.printf("  %s = %s%n", key, value));
    }
    for (TensorInfo tensor : component.tensors()) {
      out.printf("  %-6s %-20s %s%n", tensor.dtypeName(), tensor.shape(), tensor.name());
    }
  }

  private static void print(PrintWriter out, Preset preset) {
    String schedule = preset.schedule().toString();
    boolean guided = preset.cfg() == null && schedule.contains(" cfg ");
    String cfg = guided ? "" : ", cfg " + (preset.cfg() == null ? 1.0 : preset.cfg());
    out.printf("preset %s: %s%s%n", preset.name(), schedule, cfg);
    if (preset.hasAdapters()) {
      out.printf(
          "  slow %s, fast %s, scale %s%n",
          name(preset.slowLora()), name(preset.fastLora()), preset.loraScale());
    }
  }

  private static String name(@Nullable Path adapter) {
    return adapter == null ? "none" : String.valueOf(adapter.getFileName());
  }

  private static String megabytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
  }
}
