package org.glance4j.model.vae;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.TestFolders;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.glance4j.weights.Weights;
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
import org.junit.jupiter.params.provider.ValueSource;

/** The VAE against {@code goldens/qwen_vae}, both ways. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class AutoencoderKlQwenImageTest {
  @Parameter Backend backend;

  private static final double TOLERANCE = 1e-5;
  private static final String FILE = "diffusion_pytorch_model.safetensors";
  private static final Path FOLDER = Reference.path("qwen-image-tiny-random/vae");

  private static Goldens goldens;
  private static AutoencoderKlQwenImage vae;

  @BeforeParameterizedClassInvocation
  static void open(Backend backend) {
    assumeTrue(Reference.hasGoldens("qwen_vae"));
    goldens = Reference.goldens("qwen_vae");
    vae = AutoencoderKlQwenImage.open(FOLDER, backend);
  }

  @AfterParameterizedClassInvocation
  static void close() {
    if (vae != null) {
      vae.close();
      goldens.close();
    }
  }

  /** The reference's values have an axis of one frame after the channels. */
  private static Tensor image(String name) {
    Tensor video = goldens.get(name);
    return video.dim() == 5 ? video.squeeze(2) : video;
  }

  @TestFactory
  Stream<DynamicTest> decodesLayerByLayer() {
    Map<String, Tensor> seen = DecoderValues.of(vae, image("decode.in"));
    String prefix = "decode.";
    return goldens.names().stream()
        .filter(name -> name.startsWith(prefix))
        .filter(name -> !name.equals("decode.in") && !name.equals("decode.uint8"))
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () -> {
                      Tensor actual = seen.get(name.substring(prefix.length()));
                      assertNotNull(actual, "the decoder shows no such value");
                      assertClose(name, image(name), actual, TOLERANCE);
                    }));
  }

  @Test
  void pictures() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor expected = goldens.get("decode.uint8");
      byte[] pictures = Pixels.toBytes(vae.decode(image("decode.in")));
      ImageAssert.assertClose("uint8", expected, pictures, 1);
    }
  }

  /** What the reference's pipeline makes of the latents after its last step. */
  @Test
  void generatedPicture() {
    assumeTrue(Reference.hasGoldens("qwen_generate"));
    try (Goldens generated = Reference.goldens("qwen_generate");
        NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor expected = generated.get("image_float");
      PackedLatents layout =
          PackedLatents.forImage(
              vae.latentChannels(),
              vae.pixelsPerLatent(),
              (int) expected.size(2),
              (int) expected.size(3));
      Tensor decoded = vae.decode(layout.unpack(generated.get(lastLatents(generated))));
      assertClose("float", expected, ImageAssert.zeroToOne(decoded), TOLERANCE);
      ImageAssert.assertClose("uint8", generated.get("image_uint8"), Pixels.toBytes(decoded), 1);
    }
  }

  private static String lastLatents(Goldens generated) {
    String prefix = "latents_after_step";
    return generated.names().stream()
        .filter(name -> name.startsWith(prefix))
        .max(Comparator.comparingInt(name -> Integer.parseInt(name.substring(prefix.length()))))
        .orElseThrow();
  }

  @Test
  void encodes() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor images = image("image_preprocessed");
      Tensor picture = goldens.get("image_uint8");
      Tensor pictures = picture.dim() == 3 ? picture.unsqueeze(0) : picture;
      assertExact("preprocessed", images, Pixels.toUnitRange(pictures));

      LatentDistribution encoded = vae.encode(images);
      assertClose("mean", image("encode.mean"), encoded.mean(), TOLERANCE);
      assertClose("mode", image("encode.mode"), encoded.mean(), TOLERANCE);
      assertClose("logvar", image("encode.logvar"), encoded.logVariance(), TOLERANCE);
      Tensor sample = encoded.sample(image("encode.noise"));
      assertClose("sample", image("encode.sample"), sample, TOLERANCE);
      Tensor scaled = vae.scale(encoded.mean());
      assertClose("scaled", image("latent_scaled"), scaled, TOLERANCE);
      assertClose("unscaled", image("encode.mean"), vae.unscale(scaled), TOLERANCE);
    }
  }

  /** Images of a batch do not see each other, neither way; these are wider than high. */
  @Test
  void resultsDoNotDependOnTheBatch() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor latents = torch.randn(2, vae.latentChannels(), 3, 5);
      Tensor decoded = vae.decode(latents);
      long scale = vae.pixelsPerLatent();
      long[] size = {2, vae.config().imageChannels(), 3 * scale, 5 * scale};
      assertArrayEquals(size, decoded.sizes().vec().get());
      Tensor encoded = vae.encode(decoded).mean();
      assertArrayEquals(latents.sizes().vec().get(), encoded.sizes().vec().get());
      for (int i = 0; i < 2; i++) {
        Tensor one = vae.decode(latents.narrow(0, i, 1));
        assertClose("decoded " + i, one, decoded.narrow(0, i, 1), TOLERANCE);
        Tensor back = vae.encode(one).mean();
        assertClose("encoded " + i, back, encoded.narrow(0, i, 1), TOLERANCE);
      }
    }
  }

  /** Latents far outside what an encoder makes: the reference clamps. */
  @Test
  void decodesWithinTheUnitRange() {
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor decoded = vae.decode(torch.randn(1, vae.latentChannels(), 4, 4).mul_(scalar(1000)));
      assertTrue(decoded.abs().max().item_double() <= 1);
    }
  }

  private static Scalar scalar(double value) {
    return new Scalar(value);
  }

  /** Against the causal 3-D convolution itself: two frames of zeros before the only one. */
  @Test
  void aConvolutionOfTheFirstFrameIsTheCausalOne() {
    String name = "decoder.conv_in";
    int in = vae.latentChannels();
    int out = vae.config().deepestChannels();
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope();
        Weights weights = Weights.open(FOLDER, ScalarType.Float, backend::place);
        QwenBlocks blocks = new QwenBlocks(vae.config(), weights, backend)) {
      Tensor x = backend.place(torch.randn(2, in, 5, 7));
      Tensor padded =
          torch.constant_pad_nd(x.unsqueeze(2), new long[] {1, 1, 1, 1, 2, 0}, scalar(0));
      Tensor expected =
          torch.conv3d(
              padded,
              weights.take(name + ".weight", out, in, 3, 3, 3),
              new TensorOptional(weights.take(name + ".bias", out)),
              new long[] {1, 1, 1},
              new long[] {0, 0, 0},
              new long[] {1, 1, 1},
              1);
      Tensor actual = blocks.conv(name, in, out).forward(x, (Tensor) null);
      assertClose(name, expected.squeeze(2), actual, TOLERANCE);
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    try (PointerScope scope = new PointerScope()) {
      int channels = vae.config().imageChannels();
      int scale = vae.pixelsPerLatent();
      IllegalArgumentException size =
          assertThrows(
              IllegalArgumentException.class,
              () -> vae.encode(torch.zeros(1, channels, scale, scale + 1)));
      assertTrue(String.valueOf(size.getMessage()).contains("multiples of " + scale));
      Tensor tooMany = torch.zeros(1, vae.latentChannels() + 1, 2, 2);
      assertThrows(IllegalArgumentException.class, () -> vae.decode(tooMany));
      Tensor video = torch.zeros(1, vae.latentChannels(), 1, 2, 2);
      assertThrows(IllegalArgumentException.class, () -> vae.decode(video));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "_class_name | \"AutoencoderKL\"",
        "base_dim | 1000",
        "z_dim | 1000",
        "dim_mult | [1]",
        "num_res_blocks | 1000",
        "attn_scales | [1.0]",
        "temperal_downsample | [true, true, true, true, true]",
        "input_channels | 1000",
        "latents_mean | [0]",
        "latents_std | [0]",
      })
  void refusesConfigurations(String key, String value, @TempDir Path folder) {
    TestFolders.copy(FOLDER, folder);
    TestFolders.setConfig(folder, key, value);
    assertThrows(
        ModelFormatException.class, () -> AutoencoderKlQwenImage.open(folder, backend).close());
  }

  /** The convolutions in time do not run, but are there just where the configuration has them. */
  @Test
  void refusesTimeConvolutionsOfAnotherConfiguration(@TempDir Path folder) {
    assumeTrue(vae.config().temporalDownsample().contains(true));
    TestFolders.copy(FOLDER, folder);
    String none = vae.config().temporalDownsample().stream().map(x -> false).toList().toString();
    TestFolders.setConfig(folder, "temperal_downsample", none);
    assertRefused(folder, "time_conv.weight");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "quant_conv.bias",
        "decoder.norm_out.gamma",
        "decoder.conv_in.weight",
        "decoder.mid_block.attentions.0.to_qkv.weight"
      })
  void refusesMissingWeights(String name, @TempDir Path folder) {
    TestFolders.copy(FOLDER, folder);
    TestFolders.renameTensors(
        folder.resolve(FILE), Map.of("\"" + name + "\"", "\"" + name + ".of_another\""));
    assertRefused(folder, name + ": is missing");
  }

  private void assertRefused(Path folder, String message) {
    ModelFormatException e =
        assertThrows(
            ModelFormatException.class, () -> AutoencoderKlQwenImage.open(folder, backend).close());
    assertTrue(String.valueOf(e.getMessage()).contains(message), e.getMessage());
  }

  @Test
  void isOfNoUseWhenClosed() {
    AutoencoderKlQwenImage closed = AutoencoderKlQwenImage.open(FOLDER, backend);
    closed.close();
    closed.close();
    try (PointerScope scope = new PointerScope()) {
      Tensor latents = torch.zeros(1, closed.latentChannels(), 2, 2);
      assertThrows(IllegalStateException.class, () -> closed.decode(latents));
    }
  }

  @Test
  void estimatesItsMemory() {
    QwenVaeConfig config = vae.config();
    long bytes = vae.decodeBytes(16, 24);
    assertEquals(AutoencoderKlQwenImage.decodeBytes(config, 16, 24), bytes);
    assertTrue(bytes >= 16L * 24 * config.baseChannels() * Float.BYTES);
  }
}
