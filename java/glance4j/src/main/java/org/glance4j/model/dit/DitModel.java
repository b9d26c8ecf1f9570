package org.glance4j.model.dit;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraFile;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.OpenedParts;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.Turns;
import org.glance4j.model.vae.Pixels;
import org.glance4j.model.vae.Vae;
import org.glance4j.schedule.SigmaShift;
import org.glance4j.weights.ModelIndex;

/**
 * A model folder whose transformer is a {@link DiffusionTransformer}: all its parts, checked to fit
 * each other. What depends on the text encoders and on what the transformer is told is its
 * family's.
 *
 * @param <E> the text encoders
 * @param <T> the transformer
 */
public abstract class DitModel<E extends AutoCloseable, T extends DiffusionTransformer>
    implements ImageModel {
  private static final int RGB_CHANNELS = 3;

  /** How a model's two large parts are opened. */
  public record Openers<E, T>(Supplier<E> text, Supplier<T> transformer) {}

  private final LoadOptions options;
  private final SigmaShift sigmaShift;
  private final Vae vae;
  private final Map<String, LinearShape> linears;
  private final long widestLinear;
  private final List<String> glanceTargets;
  private final List<String> modulationTargets;
  private final Turns turns;
  private final Turns.Part<E> text;
  private final Turns.Part<T> transformer;

  /**
   * @param vae of the same folder
   * @param described the transformer without its weights
   * @param openers of the text encoders and the transformer
   * @param opened what is opened here is added to it
   */
  protected DitModel(
      ModelIndex index,
      LoadOptions options,
      Vae vae,
      T described,
      Openers<E, T> openers,
      DitFamily family,
      OpenedParts opened) {
    this.options = options;
    this.sigmaShift = SigmaShift.read(index.config("scheduler"));
    this.vae = vae;
    this.linears = described.linears();
    this.widestLinear = linears.values().stream().mapToLong(LinearShape::widest).max().orElse(0);
    this.glanceTargets = described.glanceTargets();
    this.modulationTargets = described.modulationTargets();
    this.turns = opened.add(new Turns(options.resident(), options.backend()));
    var memory = family.memory(index.folder(), options.dtype(), options.backend());
    this.text =
        turns.part(
            "the text encoders",
            memory.partBytes(DitFamily.TEXT),
            openers.text(),
            DitModel::closeText);
    this.transformer =
        turns.part(
            "the transformer",
            memory.partBytes(DitFamily.TRANSFORMER),
            openers.transformer(),
            DiffusionTransformer::close);
  }

  private static void closeText(AutoCloseable encoders) {
    try {
      encoders.close();
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Checks that a VAE makes pictures, of latents that the transformer knows.
   *
   * @param latentChannels that the transformer's latents have before packing
   */
  protected static void requireFitting(Path folder, int latentChannels, Vae vae) {
    requireEqual(
        folder,
        "in_channels / 4",
        latentChannels,
        "the VAE's latent channels",
        vae.latentChannels());
    if (vae.imageChannels() != RGB_CHANNELS) {
      throw ModelFormatException.in(
          folder.resolve("vae"),
          "image channels",
          vae.imageChannels() + " are not supported; a picture has 3: red, green, blue");
    }
  }

  /** Checks that two parts of a folder agree. */
  protected static void requireEqual(
      Path folder, String transformerKey, int transformer, String otherKey, int other) {
    if (transformer != other) {
      throw ModelFormatException.in(
          folder,
          "transformer " + transformerKey,
          transformer
              + " differs from "
              + otherKey
              + " "
              + other
              + "; all parts must come from one model");
    }
  }

  @Override
  public final int sizeMultiple() {
    return 2 * vae.pixelsPerLatent();
  }

  @Override
  public final SigmaShift sigmaShift() {
    return sigmaShift;
  }

  @Override
  public final int imageTokens(ImageSize size) {
    return layout(size).tokens();
  }

  @Override
  public final int latentChannels() {
    return DitConfig.PATCH * vae.latentChannels();
  }

  @Override
  public final Map<String, LinearShape> linears() {
    return linears;
  }

  @Override
  public final long widestLinear() {
    return widestLinear;
  }

  @Override
  public final List<String> glanceTargets() {
    return glanceTargets;
  }

  @Override
  public final List<String> modulationTargets() {
    return modulationTargets;
  }

  @Override
  public final LoraAdapter loadAdapter(Path file, ScalarType dtype) {
    return LoraFile.load(file, dtype, linears);
  }

  @Override
  public final void releaseAdapters() {
    transformer.ifOpen(DiffusionTransformer::releaseAdapters);
  }

  @Override
  public final Tensor noise(long seed, ImageSize size) {
    PackedLatents layout = layout(size);
    // The CPU's generator draws it for every device, so that a seed means one noise.
    return options.backend().place(layout.pack(layout.noise(seed, 1)));
  }

  @Override
  public final Denoiser denoiser(DenoiseTask task) {
    PackedLatents layout = layout(task.size());
    return transformer.denoiser(opened -> denoiser(opened, task, layout));
  }

  /** The family's denoiser. */
  protected abstract Denoiser denoiser(T transformer, DenoiseTask task, PackedLatents layout);

  @Override
  public final PictureLatents encode(Tensor picture) {
    return PictureEncoder.encode(vae, options.backend(), picture, sizeMultiple());
  }

  @Override
  public final byte[] decode(Tensor latents, ImageSize size) {
    try (PointerScope scope = new PointerScope()) {
      return Pixels.toBytes(vae.decode(layout(size).unpack(latents)));
    }
  }

  @Override
  public final long workspaceBytes(ImageSize size, int batch, int steps) {
    return DitFamily.workspaceBytes(costs(size), batch, steps);
  }

  /** What the memory for pictures of {@code size} depends on. */
  protected abstract DitFamily.Costs costs(ImageSize size);

  @Override
  public final long pendingBytes() {
    return turns.pendingBytes();
  }

  /** The text encoders. */
  public final Turns.Part<E> text() {
    return text;
  }

  /** The transformer. */
  public final Turns.Part<T> transformer() {
    return transformer;
  }

  @Override
  public void close() {
    turns.close();
    vae.close();
  }

  private PackedLatents layout(ImageSize size) {
    return PackedLatents.forImage(
        vae.latentChannels(), vae.pixelsPerLatent(), size.height(), size.width());
  }
}
