package org.glance4j.model.vae;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.Probe;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The VAE against {@code goldens/flux_vae}, both ways. */
class AutoencoderKlTest {
  private static final double TOLERANCE = 1e-5;

  private static Goldens goldens;
  private static AutoencoderKl vae;

  @BeforeAll
  static void open() {
    assumeTrue(Reference.hasGoldens("flux_vae"));
    goldens = Reference.goldens("flux_vae");
    vae = AutoencoderKl.open(Reference.path("flux-tiny-random/vae"));
  }

  @AfterAll
  static void close() {
    if (vae != null) {
      vae.close();
      goldens.close();
    }
  }

  @TestFactory
  Stream<DynamicTest> decodesLayerByLayer() {
    Map<String, Tensor> seen = new LinkedHashMap<>();
    Probe recorder =
        (module, output, value) -> seen.put(module, value.get().clone().retainReference());
    try (NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      seen.put("out", vae.decode(goldens.get("decode.in"), recorder).retainReference());
    }
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
      assertExact(
          "from the reference's values",
          expected,
          Pixels.toBytes(goldens.get("decode.out")).view(expected.sizes().vec().get()));
      Tensor pictures = Pixels.toBytes(vae.decode(goldens.get("decode.in")));
      assertClose("uint8", expected, pictures.view(expected.sizes().vec().get()), 1);
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
}
