package org.glance4j;

import java.nio.file.Path;
import java.util.function.Supplier;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.flux.FluxModel;

/** Opens model folders of every family. */
public final class ImageModels {
  private ImageModels() {}

  /**
   * Opens a Hugging Face diffusers folder.
   *
   * @param backend where the transformer runs; {@link Backend#TORCH} records gradients
   * @throws ModelFormatException if a file is missing, damaged or not supported
   * @throws DeviceOutOfMemoryException if there is not memory enough for it
   */
  public static ImageModel open(Path folder, DType dtype, Backend backend) {
    ScalarType type = scalarType(dtype);
    return open(folder, dtype, backend, () -> FluxModel.open(folder, type, backend));
  }

  /**
   * As {@link #open}, for training adapters: the transformer records gradients, wherever it runs.
   * Its weights are frozen; the gradients of the linears that an adapter changes come from this
   * library's kernels, or on {@link Backend#TORCH} from LibTorch. An adapter's matrices may change
   * between two forward passes.
   *
   * <p>Forward and backward pass belong in one {@link org.bytedeco.javacpp.PointerScope}.
   *
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations: the same gradients, for less memory and a third more time
   */
  public static ImageModel openForTraining(
      Path folder, DType dtype, Backend backend, boolean checkpointing) {
    ScalarType type = scalarType(dtype);
    return open(
        folder,
        dtype,
        backend,
        () -> FluxModel.openForTraining(folder, type, backend, checkpointing));
  }

  private static ImageModel open(
      Path folder, DType dtype, Backend backend, Supplier<ImageModel> open) {
    DeviceMemory.require(
        backend,
        folder.toString(),
        FluxModel.loadBytes(folder, scalarType(dtype), backend),
        "load it as bf16 if that is what its files have");
    try {
      return open.get();
    } catch (RuntimeException e) {
      if (DeviceMemory.isExhausted(e)) {
        throw new DeviceOutOfMemoryException(
            folder + " needs more memory than there is; load it as bf16, or another model", e);
      }
      throw e;
    }
  }

  /** The size of picture that the model in {@code folder} was made for, without loading it. */
  public static ImageSize defaultSize(Path folder) {
    return FluxModel.defaultSize(folder);
  }

  /**
   * About how many bytes training an adapter takes, the model included.
   *
   * @param batch 2 if the student is trained with CFG, otherwise 1
   */
  public static long trainingBytes(
      Path folder, DType dtype, ImageSize size, int rank, int batch, boolean checkpointing) {
    ScalarType type = scalarType(dtype);
    return FluxModel.loadBytes(folder, type, Backend.TORCH)
        + FluxModel.trainingBytes(folder, type, size, rank, batch, checkpointing);
  }

  /** What LibTorch calls {@code dtype}. */
  public static ScalarType scalarType(DType dtype) {
    return dtype == DType.BF16 ? ScalarType.BFloat16 : ScalarType.Float;
  }
}
