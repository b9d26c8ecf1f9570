package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.AdapterGradients;
import org.glance4j.model.CustomGradient;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;
import org.jspecify.annotations.Nullable;

/**
 * The way of the latents through a transformer: they are projected to the model's width, go through
 * all blocks together with the text, are normed with a last scale and shift, and projected back.
 */
public final class Trunk {
  /** All blocks of a model. */
  public interface Blocks {
    /**
     * Runs all blocks. Frees each state but {@code context}.
     *
     * @param context text tokens, shape [batch, textTokens, width]
     * @param image image tokens, shape [batch, imageTokens, width]
     * @return text tokens, then image tokens; shape [batch, tokens, width]
     */
    Tensor forward(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass);

    /**
     * As {@link #forward}, with the backward pass. Frees nothing.
     *
     * @param context which {@code recording} then keeps, as it does {@code image}
     */
    Recorded<Streams, Tensor> record(
        Tensor context, Tensor image, RecordedVectors vectors, Recording recording);
  }

  /**
   * What a model calls its two projections to its width.
   *
   * @param latents the linear that the latents go through
   * @param text the one that the text has gone through
   */
  public record Names(String latents, String text) {}

  private final Names names;
  private final long channels;
  private final long width;
  private final ModulatedNorm norm;

  /** True if the blocks can compute their gradients by themselves. */
  private final boolean recordsByItself;

  /** The linears taken before these, which do not depend on the latents. */
  private final List<String> conditioning;

  /** Those of the blocks. */
  private final List<String> inBlocks;

  private final LoraLinears in;
  private final Blocks blocks;
  private final LoraLinears out;

  private Trunk(
      Names names,
      long channels,
      long width,
      ModulatedNorm norm,
      boolean recordsByItself,
      List<String> conditioning,
      List<String> inBlocks,
      LoraLinears in,
      Blocks blocks,
      LoraLinears out) {
    this.names = names;
    this.channels = channels;
    this.width = width;
    this.norm = norm;
    this.recordsByItself = recordsByItself;
    this.conditioning = conditioning;
    this.inBlocks = inBlocks;
    this.in = in;
    this.blocks = blocks;
    this.out = out;
  }

  /**
   * Takes it, after everything that does not depend on the latents.
   *
   * @param channels of a packed latent token
   * @param width of the model
   * @param takeBlocks takes the blocks
   */
  public static Trunk take(
      Linears linears, Names names, long channels, long width, Supplier<Blocks> takeBlocks) {
    List<String> conditioning = List.copyOf(linears.shapes().keySet());
    LoraLinears in = linears.linear(names.latents(), channels, width);
    Set<String> before = Set.copyOf(linears.shapes().keySet());
    Blocks blocks = takeBlocks.get();
    List<String> inBlocks =
        linears.shapes().keySet().stream().filter(name -> !before.contains(name)).toList();
    LoraLinears out = linears.linear("proj_out", width, channels);
    return new Trunk(
        names,
        channels,
        width,
        ModulatedNorm.on(linears.recordsByItself() ? Backend.TORCH : linears.backend()),
        linears.recordsByItself(),
        conditioning,
        inBlocks,
        in,
        blocks,
        out);
  }

  /** True if {@code mix} trains a linear that was taken before this. */
  boolean trainsConditioning(AdapterMix mix) {
    return mix.parts().stream()
        .flatMap(part -> conditioning.stream().map(part.adapter()::pair))
        .anyMatch(pair -> pair != null && pair.requiresGradient());
  }

  /**
   * Predicts the velocity.
   *
   * @param latents packed latents, shape [batch, imageTokens, channels]
   * @param context the text in the model's width, shape [batch, textTokens, width]
   * @param modulation one row for each sample
   * @return shape [batch, imageTokens, channels]
   */
  Tensor forward(Tensor latents, Tensor context, Modulation modulation, Pass pass) {
    check(latents, context, modulation, pass);
    long textTokens = context.size(1);
    long imageTokens = latents.size(1);
    Probe probe = pass.probe();
    Modulation.Reader vectors = modulation.reader();
    Tensor image = in.forward(latents.to(context.scalar_type()), pass.mix());
    probe.see(names.latents(), "", () -> image);
    probe.see(names.text(), "", () -> context);

    Tensor joint = joint(context, image, vectors, pass);
    Tensor scale = vectors.next();
    Tensor shift = vectors.next();
    Tensor normed = AdaLn.modulate(norm, joint.narrow(1, textTokens, imageTokens), shift, scale);
    probe.see("norm_out", "", () -> normed);
    Tensor velocity = out.forward(normed, pass.mix());
    probe.see("proj_out", "", () -> velocity);
    return velocity;
  }

  /** Runs the blocks. */
  private Tensor joint(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass) {
    if (recordsByItself && GradMode.is_enabled() && pass.mix() instanceof AdapterMix mix) {
      AdapterGradients gradients = AdapterGradients.of(mix, inBlocks);
      if (gradients.isTrained()
          || context.requires_grad()
          || image.requires_grad()
          || vectors.values().requires_grad()) {
        return recorded(context, image, vectors, new Recording(pass, mix, gradients));
      }
    }
    return blocks.forward(context, image, vectors, pass);
  }

  /** Runs the blocks as one operation of LibTorch's graph. */
  private Tensor recorded(
      Tensor context, Tensor image, Modulation.Reader vectors, Recording recording) {
    boolean wantsX = context.requires_grad() || image.requires_grad();
    Tensor values = vectors.values();
    Tensor ofVectors = values.requires_grad() ? recording.keep(torch.zeros_like(values)) : null;
    Recorded<Streams, Tensor> recorded;
    try (NoGradGuard noGrad = new NoGradGuard()) {
      Modulation constant = new Modulation(values.detach());
      RecordedVectors read =
          new RecordedVectors(constant, ofVectors == null ? null : new Modulation(ofVectors));
      recorded = blocks.record(context.detach(), image.detach(), read, recording);
      vectors.skip(read.read());
    }
    List<Tensor> inputs = new ArrayList<>(List.of(context, image, values));
    inputs.addAll(recording.gradients().linked());
    return CustomGradient.link(
        recorded.value(),
        inputs,
        gradient -> {
          Streams own = recorded.backward().input(gradient, wantsX);
          List<@Nullable Tensor> all = new ArrayList<>();
          all.add(own == null ? null : own.text());
          all.add(own == null ? null : own.image());
          all.add(ofVectors);
          all.addAll(recording.gradients().linkedGradients());
          return all;
        },
        List.of());
  }

  private void check(Tensor latents, Tensor context, Modulation modulation, Pass pass) {
    DiffusionTransformer.requireShape("latents", latents, modulation.rows(), -1, channels);
    DiffusionTransformer.requireShape("context", context, modulation.rows(), -1, width);
    long textTokens = context.size(1);
    long imageTokens = latents.size(1);
    if (pass.rope().tokens() != textTokens + imageTokens) {
      throw new IllegalArgumentException(
          "rope is for %d tokens, but there are %d text and %d image tokens"
              .formatted(pass.rope().tokens(), textTokens, imageTokens));
    }
    TextPadding padding = pass.padding();
    if (padding != null
        && (padding.textTokens() != textTokens || padding.samples() != latents.size(0))) {
      throw new IllegalArgumentException(
          "padding is for %d samples of %d text tokens, but there are %d of %d"
              .formatted(padding.samples(), padding.textTokens(), latents.size(0), textTokens));
    }
  }
}
