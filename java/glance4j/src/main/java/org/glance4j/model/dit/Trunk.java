package org.glance4j.model.dit;

import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.model.LoraLinears;
import org.glance4j.model.Probe;

/**
 * The way of the latents through a transformer: they are projected to the model's width, go through
 * all blocks together with the text, are normed with a last scale and shift, and projected back.
 */
public final class Trunk {
  /** All blocks of a model. */
  @FunctionalInterface
  public interface Blocks {
    /**
     * Runs all blocks. Frees each state but {@code context}.
     *
     * @param context text tokens, shape [batch, textTokens, width]
     * @param image image tokens, shape [batch, imageTokens, width]
     * @return text tokens, then image tokens; shape [batch, tokens, width]
     */
    Tensor forward(Tensor context, Tensor image, Modulation.Reader vectors, Pass pass);
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

  /** The linears taken before these, which do not depend on the latents. */
  private final List<String> conditioning;

  private final LoraLinears in;
  private final Blocks blocks;
  private final LoraLinears out;

  private Trunk(
      Names names,
      long channels,
      long width,
      ModulatedNorm norm,
      List<String> conditioning,
      LoraLinears in,
      Blocks blocks,
      LoraLinears out) {
    this.names = names;
    this.channels = channels;
    this.width = width;
    this.norm = norm;
    this.conditioning = conditioning;
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
    Blocks blocks = takeBlocks.get();
    LoraLinears out = linears.linear("proj_out", width, channels);
    return new Trunk(
        names,
        channels,
        width,
        ModulatedNorm.on(linears.operations()),
        conditioning,
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

    Tensor joint = blocks.forward(context, image, vectors, pass);
    Tensor scale = vectors.next();
    Tensor shift = vectors.next();
    Tensor normed = AdaLn.modulate(norm, joint.narrow(1, textTokens, imageTokens), shift, scale);
    probe.see("norm_out", "", () -> normed);
    Tensor velocity = out.forward(normed, pass.mix());
    probe.see("proj_out", "", () -> velocity);
    return velocity;
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
