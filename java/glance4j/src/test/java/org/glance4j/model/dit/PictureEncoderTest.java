package org.glance4j.model.dit;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.vae.AutoencoderKlQwenImage;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.Test;

/** A VAE with a scale for each channel, against {@code goldens/qwen_vae}. */
class PictureEncoderTest {
  private static final double TOLERANCE = 1e-5;

  @Test
  void packsTheScaleOfEachChannel() {
    assumeTrue(Reference.hasGoldens("qwen_vae"));
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_vae");
        AutoencoderKlQwenImage vae =
            AutoencoderKlQwenImage.open(
                Reference.path("qwen-image-tiny-random/vae"), Backend.TORCH);
        PictureLatents latents =
            PictureEncoder.encode(
                vae, Backend.TORCH, goldens.get("image_uint8"), 2 * vae.pixelsPerLatent())) {
      Tensor mode = goldens.get("latent_scaled").squeeze(2);
      PackedLatents layout =
          new PackedLatents(vae.latentChannels(), (int) mode.size(2), (int) mode.size(3));
      assertClose("mode", layout.pack(mode), latents.mode(), TOLERANCE);

      Tensor noise = layout.pack(goldens.get("encode.noise").squeeze(2));
      Tensor sample = vae.scale(goldens.get("encode.sample").squeeze(2));
      assertClose("sample", layout.pack(sample), latents.sample(noise), TOLERANCE);
      assertEquals(4L * vae.latentChannels(), latents.shift().numel());
    }
  }
}
