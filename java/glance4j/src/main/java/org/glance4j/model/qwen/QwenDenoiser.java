package org.glance4j.model.qwen;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.ScheduledDenoiser;
import org.glance4j.model.dit.TextPadding;
import org.jspecify.annotations.Nullable;

/**
 * Qwen-Image made ready for one generation. The shorter of the two prompts is filled up with zeros,
 * which nothing attends to.
 */
final class QwenDenoiser extends ScheduledDenoiser {
  QwenDenoiser(QwenTransformer transformer, DenoiseTask task, PackedLatents layout) {
    super(Prompts.of(transformer, task, layout), task);
  }

  /**
   * The prompts of one generation.
   *
   * @param embeds shape [batch, textTokens, contextDim]
   */
  private record Prompts(
      QwenTransformer transformer, Tensor embeds, @Nullable TextPadding padding, Rope rope)
      implements Prompted {
    static Prompts of(QwenTransformer transformer, DenoiseTask task, PackedLatents layout) {
      QwenConditioning positive = (QwenConditioning) task.positive();
      QwenConditioning negative = (QwenConditioning) task.negative();
      Tensor embeds = positive.embeds();
      TextPadding padding = null;
      if (negative != null) {
        int tokens = tokens(positive);
        int negativeTokens = tokens(negative);
        int longest = Math.max(tokens, negativeTokens);
        embeds =
            torch.cat(
                new TensorVector(
                    filledUp(positive.embeds(), longest), filledUp(negative.embeds(), longest)),
                0);
        padding = TextPadding.of(tokens, negativeTokens);
      }
      Rope rope = transformer.rope((int) embeds.size(1), layout);
      return new Prompts(transformer, embeds, padding, rope);
    }

    private static int tokens(QwenConditioning prompt) {
      return (int) prompt.embeds().size(1);
    }

    private static Tensor filledUp(Tensor embeds, int tokens) {
      long missing = tokens - embeds.size(1);
      return missing == 0
          ? embeds
          : torch.cat(new TensorVector(embeds, embeds.new_zeros(1, missing, embeds.size(2))), 1);
    }

    @Override
    public boolean trainsConditioning(AdapterMix mix) {
      return transformer.trainsConditioning(mix);
    }

    @Override
    public Tensor context(AdapterMix mix) {
      return transformer.context(embeds, mix);
    }

    @Override
    public Modulation modulation(Tensor timesteps, AdapterMix mix) {
      return transformer.modulation(transformer.place(timesteps), mix);
    }

    @Override
    public Tensor forward(
        Tensor latents, Tensor context, Modulation modulation, AdapterChoice mix) {
      TextPadding own =
          padding != null && latents.size(0) < padding.lengths().size() ? padding.first() : padding;
      return transformer.forward(latents, context, modulation, rope, own, mix);
    }
  }
}
