package org.glance4j.model.flux;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Packing, position ids, RoPE tables and start noise, each against the reference. */
class FluxLatentsTest {
  private static final Path MODEL = Reference.path("flux-tiny-random");

  private static final Pattern SEED = Pattern.compile("randn\\b.*manual_seed\\((\\d+)\\)");

  @Test
  void packsAndNumbersTokens() {
    try (Goldens goldens = open();
        PointerScope scope = new PointerScope()) {
      Tensor latents = goldens.get("latents");
      FluxLatents size = sizeOf(goldens);
      assertEquals(latents.size(2), size.height());
      assertEquals(latents.size(3), size.width());
      assertExact("packed", goldens.get("latents_packed"), size.pack(latents));
      assertExact("unpacked", latents, size.unpack(goldens.get("latents_packed")));
      assertExact("ids", goldens.get("img_ids"), size.imageIds());
    }
  }

  @Test
  void rotations() {
    try (Goldens goldens = open();
        PointerScope scope = new PointerScope()) {
      List<Integer> axes = FluxConfig.read(MODEL.resolve("transformer/config.json")).ropeAxes();
      Tensor ids = torch.cat(new TensorVector(goldens.get("txt_ids"), goldens.get("img_ids")), 0);
      assertRotations(goldens, "rope", Rope.of(ids, axes));
      assertRotations(goldens, "rope_big", Rope.of(goldens.get("rope_big_ids"), axes));

      Tensor latents = goldens.get("latents");
      FluxLatents size =
          new FluxLatents((int) latents.size(1), (int) latents.size(2), (int) latents.size(3));
      try (RopeCache cache = new RopeCache(axes, Backend.CPU)) {
        int textTokens = (int) goldens.get("txt_ids").size(0);
        Rope cached = cache.get(textTokens, size);
        assertRotations(goldens, "rope", cached);
        assertTrue(cached == cache.get(textTokens, size));
      }
    }
  }

  private static void assertRotations(Goldens goldens, String name, Rope rope) {
    Tensor rotation = torch.view_as_real(rope.rotation());
    Tensor cos =
        rotation.select(2, 0).repeat_interleave(2, new LongOptional(1), new LongOptional());
    Tensor sin =
        rotation.select(2, 1).repeat_interleave(2, new LongOptional(1), new LongOptional());
    assertClose(name + "_cos", goldens.get(name + "_cos"), cos, 1e-7);
    assertClose(name + "_sin", goldens.get(name + "_sin"), sin, 1e-7);
  }

  /** Every tensor of latents that the manifest says was drawn from a seed. */
  @TestFactory
  List<DynamicTest> noiseOfEverySeed() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String file : List.of("flux_transformer", "flux_generate", "glance_flux")) {
      if (Reference.hasGoldens(file)) {
        try (Goldens goldens = Reference.goldens(file)) {
          for (String name : goldens.names()) {
            String call = goldens.entry().path("tensors").path(name).path("call").asText();
            Matcher drawn = SEED.matcher(call);
            if (name.contains("latents") && drawn.find()) {
              long seed = Long.parseLong(drawn.group(1));
              tests.add(
                  DynamicTest.dynamicTest(file + " " + name, () -> assertNoise(file, name, seed)));
            }
          }
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void assertNoise(String file, String name, long seed) {
    try (Goldens goldens = Reference.goldens(file);
        PointerScope scope = new PointerScope()) {
      Tensor expected = goldens.get(name);
      int batch = (int) expected.size(0);
      boolean packed = expected.dim() == 3;
      FluxLatents size =
          packed
              ? sizeOf(goldens)
              : new FluxLatents(
                  (int) expected.size(1), (int) expected.size(2), (int) expected.size(3));
      // Draws from the global generator must change nothing.
      torch.randn(7);
      Tensor noise = size.noise(seed, batch);
      assertExact(name, expected, packed ? size.pack(noise) : noise);
    }
  }

  /** The latents of the picture size that the manifest gives for the file. */
  private static FluxLatents sizeOf(Goldens goldens) {
    VaeConfig vae = VaeConfig.read(MODEL.resolve("vae/config.json"));
    return FluxLatents.forImage(
        vae.latentChannels(),
        vae.scale(),
        goldens.entry().get("height").intValue(),
        goldens.entry().get("width").intValue());
  }

  @Test
  void refusesSizesWithoutWholePatches() {
    assertThrows(IllegalArgumentException.class, () -> new FluxLatents(16, 3, 4));
    assertThrows(IllegalArgumentException.class, () -> FluxLatents.forImage(16, 8, 15, 64));
  }

  private static Goldens open() {
    assumeTrue(Reference.hasGoldens("flux_transformer"));
    return Reference.goldens("flux_transformer");
  }
}
