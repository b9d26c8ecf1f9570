package org.glance4j.model.flux;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.LinearShape;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a trainer asks of a model. */
class FluxModelTest {
  private static FluxModel model;

  @BeforeAll
  static void open() {
    LoadOptions options = new LoadOptions(ScalarType.Float, Backend.TORCH, true);
    model = FluxModel.open(Reference.path("flux-tiny-random"), options);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  /** Against the reference's VAE, with the noise it drew. */
  @Test
  void encodesPictures() {
    assumeTrue(Reference.hasGoldens("flux_vae"));
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("flux_vae");
        PictureLatents latents = model.encode(picture(goldens))) {
      Tensor mean = goldens.get("encode.mean");
      PackedLatents layout =
          new PackedLatents((int) mean.size(1), (int) mean.size(2), (int) mean.size(3));
      assertEquals(layout.tokens(), model.imageTokens(latents.size()));
      assertClose("mean", layout.pack(mean), latents.mean(), 1e-5);
      assertClose("mode", layout.pack(goldens.get("latent_scaled")), latents.mode(), 1e-5);

      Tensor noise = goldens.get("encode.noise");
      Tensor sample = goldens.get("encode.sample");
      Tensor packed = latents.sample(layout.pack(noise));
      Tensor expected = layout.pack(sample).sub(latents.shift()).mul(latents.scaling());
      assertClose("sample", expected, packed, 1e-5);
    }
  }

  private static Tensor picture(Goldens goldens) {
    Tensor picture = goldens.get("image_uint8");
    return picture.dim() == 4 ? picture.squeeze(0) : picture;
  }

  /** Latents outlive the scope they were made in, and a seed gives the same ones again. */
  @Test
  void aSeedGivesTheSameLatents() {
    ImageSize size = new ImageSize(2 * model.sizeMultiple(), model.sizeMultiple());
    PictureLatents latents;
    try (PointerScope scope = new PointerScope()) {
      latents = model.encode(torch.full(shape(size), new Scalar(90), bytes()));
    }
    try (PointerScope scope = new PointerScope()) {
      assertEquals(size, latents.size());
      Tensor first = latents.sample(model.noise(7, size));
      assertExact("same seed", first, latents.sample(model.noise(7, size)));
      Tensor other = latents.sample(model.noise(8, size));
      assertTrue(first.sub(other).abs().max().item_double() > 1e-3, "another seed, other latents");
      assertTrue(first.isfinite().all().item_bool());
    } finally {
      latents.close();
    }
  }

  private static long[] shape(ImageSize size) {
    return new long[] {size.height(), size.width(), 3};
  }

  private static TensorOptions bytes() {
    return new TensorOptions(ScalarType.Byte);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "16, 24, 3 | Byte | width 24 must be a multiple of 16; try 16 or 32",
        "8, 16, 3 | Byte | height 8 must be in 16...16384",
        "16, 16, 4 | Byte | picture has shape [16, 16, 4] and type Byte",
        "16, 16, 3 | Float | picture has shape [16, 16, 3] and type Float",
        "1, 16, 16, 3 | Byte | picture has shape [1, 16, 16, 3]"
      })
  void refusesWhatIsNoPicture(String shape, ScalarType type, String message) {
    long[] sizes = Arrays.stream(shape.split(", ")).mapToLong(Long::parseLong).toArray();
    try (PointerScope scope = new PointerScope()) {
      Tensor tensor = torch.zeros(sizes, new TensorOptions(type));
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> model.encode(tensor));
      assertTrue(String.valueOf(e.getMessage()).contains(message), e.getMessage());
    }
  }

  /** Those that the reference's training run adapts. */
  @Test
  void namesTheLinearsOfTheRecipe() {
    List<String> targets = model.glanceTargets();
    assertEquals(
        List.of(
            "transformer_blocks.0.attn.to_q",
            "transformer_blocks.0.attn.to_k",
            "transformer_blocks.0.attn.to_v",
            "transformer_blocks.0.attn.to_out.0",
            "transformer_blocks.1.attn.to_q",
            "transformer_blocks.1.attn.to_k",
            "transformer_blocks.1.attn.to_v",
            "transformer_blocks.1.attn.to_out.0",
            "single_transformer_blocks.0.attn.to_q",
            "single_transformer_blocks.0.attn.to_k",
            "single_transformer_blocks.0.attn.to_v",
            "single_transformer_blocks.1.attn.to_q",
            "single_transformer_blocks.1.attn.to_k",
            "single_transformer_blocks.1.attn.to_v"),
        targets);
    assertEquals(new LinearShape(64, 64), model.linears().get(targets.get(0)));
  }
}
