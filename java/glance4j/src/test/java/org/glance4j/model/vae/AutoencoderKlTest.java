package org.glance4j.model.vae;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.TestFolders;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The VAE against {@code goldens/flux_vae}, both ways. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class AutoencoderKlTest {
  @Parameter Backend backend;

  private static final double TOLERANCE = 1e-5;

  private static final Path FOLDER = Reference.path("flux-tiny-random/vae");

  private static Goldens goldens;
  private static AutoencoderKl vae;

  @BeforeParameterizedClassInvocation
  static void open(Backend backend) {
    assumeTrue(Reference.hasGoldens("flux_vae"));
    goldens = Reference.goldens("flux_vae");
    vae = AutoencoderKl.open(FOLDER, backend);
  }

  @AfterParameterizedClassInvocation
  static void close() {
    if (vae != null) {
      vae.close();
      goldens.close();
    }
  }

  @TestFactory
  Stream<DynamicTest> decodesLayerByLayer() {
    Map<String, Tensor> seen = DecoderValues.of(vae, goldens.get("decode.in"));
    String prefix = "decode.";
    return goldens.names().stream()
        .filter(name -> name.startsWith(prefix + "decoder.") || name.equals(prefix + "out"))
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () -> {
                      Tensor actual = seen.get(name.substring(prefix.length()));
                      assertNotNull(actual, "the decoder shows no such value");
                      assertClose(name, goldens.get(name), actual, TOLERANCE);
                    }));
  }

  @Test
  void pictures() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor expected = goldens.get("decode.uint8");
      ImageAssert.assertClose(
          "from the reference's values", expected, Pixels.toBytes(goldens.get("decode.out")), 0);
      byte[] pictures = Pixels.toBytes(vae.decode(goldens.get("decode.in")));
      ImageAssert.assertClose("uint8", expected, pictures, 1);
    }
  }

  @Test
  void encodes() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor images = goldens.get("image_preprocessed");
      Tensor picture = goldens.get("image_uint8");
      Tensor pictures = picture.dim() == 3 ? picture.unsqueeze(0) : picture;
      assertExact("preprocessed", images, Pixels.toUnitRange(pictures));

      LatentDistribution encoded = vae.encode(images);
      assertClose("mean", goldens.get("encode.mean"), encoded.mean(), TOLERANCE);
      assertClose("logvar", goldens.get("encode.logvar"), encoded.logVariance(), TOLERANCE);
      assertClose(
          "sample",
          goldens.get("encode.sample"),
          encoded.sample(goldens.get("encode.noise")),
          TOLERANCE);
      assertClose("scaled", goldens.get("latent_scaled"), vae.scale(encoded.mean()), TOLERANCE);
    }
  }

  /** Bit for bit, so that a seed keeps its meaning: one scale for all channels is one number. */
  @Test
  void scalesAsByNumbers() {
    try (PointerScope scope = new PointerScope()) {
      Tensor z = torch.randn(2, vae.latentChannels(), 5, 3);
      Tensor expected =
          z.sub(new Scalar(vae.config().shiftFactor()))
              .mul(new Scalar(vae.config().scalingFactor()));
      assertExact("scaled", expected, vae.scale(z));
    }
  }

  @Test
  void resultsDoNotDependOnTheBatch() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor one = goldens.get("decode.in").narrow(0, 0, 1);
      Tensor both = vae.decode(one.repeat(2, 1, 1, 1));
      assertClose("batch of two", vae.decode(one).repeat(2, 1, 1, 1), both, TOLERANCE);
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (PointerScope scope = new PointerScope()) {
      int channels = vae.config().inChannels();
      int scale = vae.config().scale();
      IllegalArgumentException size =
          assertThrows(
              IllegalArgumentException.class,
              () -> vae.encode(torch.zeros(1, channels, scale + 1, scale)));
      assertTrue(String.valueOf(size.getMessage()).contains("multiples of " + scale));
      assertThrows(
          IllegalArgumentException.class,
          () -> vae.decode(torch.zeros(1, vae.config().latentChannels() + 1, 2, 2)));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "_class_name | \"AutoencoderTiny\"",
        "act_fn | \"relu\"",
        "block_out_channels | [1]",
        "down_block_types | [\"AttnDownEncoderBlock2D\"]",
        "up_block_types | []",
        "norm_num_groups | 1000",
        "layers_per_block | 1000",
        "latent_channels | \"many\"",
        "mid_block_add_attention | false",
        "use_quant_conv | true",
        "use_post_quant_conv | true",
        "scaling_factor | 0",
      })
  void refusesConfigurations(String key, String value, @TempDir Path folder) {
    TestFolders.copy(FOLDER, folder);
    TestFolders.setConfig(folder, key, value);
    assertThrows(ModelFormatException.class, () -> AutoencoderKl.open(folder, backend).close());
  }

  @Test
  void readsTheNamesOfOldFiles(@TempDir Path folder) {
    TestFolders.copy(FOLDER, folder);
    assumeTrue(vae.config().midAttention(), "this VAE has no attention");
    TestFolders.renameTensors(
        folder.resolve("diffusion_pytorch_model.safetensors"),
        Map.of(
            ".attentions.0.to_q.", ".attentions.0.query.",
            ".attentions.0.to_k.", ".attentions.0.key.",
            ".attentions.0.to_v.", ".attentions.0.value.",
            ".attentions.0.to_out.0.", ".attentions.0.proj_attn."));
    try (AutoencoderKl old = AutoencoderKl.open(folder, backend);
        NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      assertClose(
          "decoded", goldens.get("decode.out"), old.decode(goldens.get("decode.in")), TOLERANCE);
    }
  }
}
