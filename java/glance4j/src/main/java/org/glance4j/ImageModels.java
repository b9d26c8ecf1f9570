package org.glance4j;

import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.function.Supplier;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.model.ModelFamily;
import org.glance4j.model.flux.FluxFamily;
import org.glance4j.model.qwen.QwenFamily;
import org.glance4j.weights.ModelIndex;
import org.glance4j.weights.Pipeline;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Opens model folders of every family. */
public final class ImageModels {
  private static final Logger log = LoggerFactory.getLogger(ImageModels.class);

  /** What is assumed of a generation that is not known yet: CFG, and the steps of a base model. */
  private static final int WORKSPACE_BATCH = 2;

  private static final int WORKSPACE_STEPS = 50;

  private ImageModels() {}

  /**
   * The family of {@code folder}'s model.
   *
   * @throws ModelFormatException if it is no model folder, or of no family this library has
   */
  public static ModelFamily family(Path folder) {
    return family(ModelIndex.read(folder).pipeline());
  }

  private static ModelFamily family(Pipeline pipeline) {
    return switch (pipeline) {
      case FLUX -> new FluxFamily();
      case QWEN_IMAGE -> new QwenFamily();
    };
  }

  /**
   * Opens a Hugging Face diffusers folder.
   *
   * @param backend where the transformer runs; {@link Backend#TORCH} records gradients
   * @param keepResident see {@link GlanceOptions#keepResident()}
   * @throws ModelFormatException if a file is missing, damaged or not supported
   * @throws DeviceOutOfMemoryException if there is not memory enough for it
   */
  public static ImageModel open(
      Path folder, DType dtype, Backend backend, @Nullable Boolean keepResident) {
    ModelFamily family = family(folder);
    Backend resolved = backend.resolve();
    boolean resident = resident(family, folder, scalarType(dtype), resolved, keepResident);
    LoadOptions options = new LoadOptions(scalarType(dtype), resolved, resident);
    return open(folder, () -> family.open(folder, options));
  }

  /**
   * As {@link #open}, for training adapters: the transformer records gradients, wherever it runs.
   * Its weights are frozen; the gradients of the linears that an adapter changes come from this
   * library's kernels, or on {@link Backend#TORCH} from LibTorch. An adapter's matrices may change
   * between two forward passes.
   *
   * <p>Forward and backward pass belong in one {@link org.bytedeco.javacpp.PointerScope}, before
   * the denoiser is closed.
   *
   * @param checkpointing true to compute each block again in the backward pass, in place of keeping
   *     its activations: the same gradients, for less memory and a third more time
   * @param keepResident true to keep the text encoders in memory beside the transformer
   */
  public static ImageModel openForTraining(
      Path folder, DType dtype, Backend backend, boolean checkpointing, boolean keepResident) {
    ModelFamily family = family(folder);
    Backend resolved = backend.resolve();
    boolean resident = resident(family, folder, scalarType(dtype), resolved, keepResident);
    LoadOptions options = new LoadOptions(scalarType(dtype), resolved, resident);
    return open(folder, () -> family.openForTraining(folder, options, checkpointing));
  }

  private static ImageModel open(Path folder, Supplier<ImageModel> open) {
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

  /** Whether all parts are to stay in memory; fails if what is asked for does not fit. */
  private static boolean resident(
      ModelFamily family,
      Path folder,
      ScalarType dtype,
      Backend backend,
      @Nullable Boolean keepResident) {
    MemoryNeeds needs = family.memory(folder, dtype, backend);
    if (keepResident == null) {
      long wanted = needs.residentBytes() + workspaceBytes(family, folder);
      OptionalLong available = DeviceMemory.availableBytes(backend);
      if (available.isEmpty()
          || wanted <= available.getAsLong()
          || needs.turnsBytes() == needs.residentBytes()) {
        keepResident = true;
      } else {
        keepResident = false;
        log.info(
            "the parts of {} take turns in memory: all at once need about {}, {} are free",
            folder,
            DeviceMemory.text(wanted),
            DeviceMemory.text(available.getAsLong()));
      }
    }
    if (keepResident) {
      boolean turnsHelp = needs.turnsBytes() < needs.residentBytes();
      DeviceMemory.require(
          backend,
          turnsHelp ? folder + ", all of it at once," : folder.toString(),
          needs.residentBytes(),
          turnsHelp
              ? "let its parts take turns (keepResident false), or load it as bf16 if that is what"
                  + " its files have"
              : "load it as bf16 if that is what its files have");
    } else {
      DeviceMemory.require(
          backend,
          folder + ", its parts taking turns,",
          needs.turnsBytes(),
          "load it as bf16 if that is what its files have");
    }
    return keepResident;
  }

  /** The size of picture that the model in {@code folder} was made for, without loading it. */
  public static ImageSize defaultSize(Path folder) {
    return family(folder).defaultSize(folder);
  }

  /**
   * About how much memory loading takes, without loading.
   *
   * @param backend where the transformer would run, never {@link Backend#AUTO}; it need not be
   *     there
   */
  public static MemoryNeeds memory(Path folder, DType dtype, Backend backend) {
    return family(folder).memory(folder, scalarType(dtype), backend);
  }

  /**
   * About how many bytes a generation of the model's own size with CFG takes beside the weights.
   */
  public static long workspaceBytes(Path folder) {
    return workspaceBytes(family(folder), folder);
  }

  private static long workspaceBytes(ModelFamily family, Path folder) {
    ImageSize size = family.defaultSize(folder);
    return family.workspaceBytes(folder, size, WORKSPACE_BATCH, WORKSPACE_STEPS);
  }

  /**
   * About how many bytes training an adapter takes, the model included.
   *
   * @param batch 2 if the student is trained with CFG, otherwise 1
   * @param keepResident as for {@link #openForTraining}
   */
  public static long trainingBytes(
      Path folder,
      DType dtype,
      ImageSize size,
      int rank,
      int batch,
      boolean checkpointing,
      boolean keepResident) {
    ModelFamily family = family(folder);
    ScalarType type = scalarType(dtype);
    MemoryNeeds needs = family.memory(folder, type, Backend.TORCH);
    return (keepResident ? needs.residentBytes() : needs.turnsBytes())
        + family.trainingBytes(folder, type, size, rank, batch, checkpointing);
  }

  /** What LibTorch calls {@code dtype}. */
  public static ScalarType scalarType(DType dtype) {
    return dtype == DType.BF16 ? ScalarType.BFloat16 : ScalarType.Float;
  }
}
