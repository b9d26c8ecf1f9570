package org.glance4j.model.flux;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.dit.Modulation;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.ScheduledDenoiser;
import org.jspecify.annotations.Nullable;

/** FLUX made ready for one generation. */
final class FluxDenoiser extends ScheduledDenoiser {
  FluxDenoiser(FluxTransformer transformer, DenoiseTask task, PackedLatents layout) {
    super(Prompts.of(transformer, task, layout), task);
  }

  /**
   * The prompts of one generation.
   *
   * @param embeds shape [batch, textTokens, contextDim]
   * @param pooled shape [batch, pooledDim]
   * @param guidance the distilled guidance
   */
  private record Prompts(
      FluxTransformer transformer, Tensor embeds, Tensor pooled, double guidance, Rope rope)
      implements Prompted {
    static Prompts of(FluxTransformer transformer, DenoiseTask task, PackedLatents layout) {
      FluxConditioning positive = (FluxConditioning) task.positive();
      FluxConditioning negative = (FluxConditioning) task.negative();
      Tensor embeds = positive.embeds();
      Tensor pooled = positive.pooled();
      if (negative != null) {
        embeds = torch.cat(new TensorVector(embeds, negative.embeds()), 0);
        pooled = torch.cat(new TensorVector(pooled, negative.pooled()), 0);
      }
      Rope rope = transformer.rope((int) embeds.size(1), layout);
      return new Prompts(transformer, embeds, pooled, task.guidance(), rope);
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
      return transformer.modulation(transformer.place(timesteps), guidances(), pooled, mix);
    }

    private @Nullable Tensor guidances() {
      return transformer.config().guidanceEmbeds()
          ? transformer.place(
              torch.full(
                  new long[] {pooled.size(0)},
                  new Scalar(guidance),
                  new TensorOptions(ScalarType.Float)))
          : null;
    }

    @Override
    public Tensor forward(
        Tensor latents, Tensor context, Modulation modulation, AdapterChoice mix) {
      return transformer.forward(latents, context, modulation, rope, null, mix);
    }
  }
}
