package org.glance4j.cli;

import java.nio.file.Path;
import org.glance4j.DType;
import org.glance4j.Glance;
import org.glance4j.kernel.Backend;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which model, and how it runs. */
class RunOptions {
  @Option(
      names = "--model",
      paramLabel = "DIR",
      description = "Model folder in the layout of Hugging Face diffusers. Default: bundled model.")
  @Nullable Path model;

  @Option(
      names = "--backend",
      paramLabel = "auto|cpu|cuda|torch",
      description = "Who runs the kernels. Default: auto.")
  Backend backend = Backend.AUTO;

  @Option(
      names = "--dtype",
      paramLabel = "f32|bf16",
      description = "Type of weights and activations. Default: f32.")
  DType dtype = DType.F32;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "CPU threads. Default: one for each core.")
  int threads;

  @Option(
      names = "--keep-resident",
      negatable = true,
      description = {
        "Keep the whole model in memory, or with --no-keep-resident let text encoders and",
        "transformer take turns: less memory, more loading, the same result.",
        "Default: the whole if it fits; train: turns, which cost nothing there."
      })
  @Nullable Boolean keepResident;

  /** The model's folder on disk. */
  Path folder() {
    return model == null ? Glance.bundledModelFolder() : model;
  }
}
