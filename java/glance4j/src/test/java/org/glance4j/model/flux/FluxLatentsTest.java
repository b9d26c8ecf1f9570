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
import org.glance4j.model.vae.VaeConfig;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Packing, position ids, RoPE tables and start noise, each against the reference. */
class FluxLatentsTest {
  private static final Path MODEL = Reference.path("flux-tiny-random");

  /** The calls that drew noise, as the manifest writes them. */
  private static final Pattern DRAWN =
      Pattern.compile(
          "(_pack_latents\\()?torch\\.randn\\((\\d+),\\s*(\\d+),\\s*(\\d+),\\s*(\\d+),\\s*"
              + "generator=(?:Generator\\('cpu'\\)\\.)?manual_seed\\((\\d+)\\)");

  @Test
  void packsAndNumbersTokens() {
    try (Goldens goldens = open();
        PointerScope scope = new PointerScope()) {
      Tensor latents = goldens.get("latents");
      VaeConfig vae = VaeConfig.read(MODEL.resolve("vae/config.json"));
      FluxLatents size =
          FluxLatents.forImage(
              vae.latentChannels(),
              vae.scale(),
              goldens.entry().get("height").intValue(),
              goldens.entry().get("width").intValue());
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
      try (RopeCache cache = new RopeCache(axes)) {
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

  @TestFactory
  List<DynamicTest> noiseOfEverySeed() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String file : List.of("flux_transformer", "flux_generate", "glance_flux")) {
      if (!Reference.hasGoldens(file)) {
        continue;
      }
      Reference.goldens(file)
          .entry()
          .path("tensors")
          .properties()
          .forEach(
              tensor -> {
                Matcher drawn = DRAWN.matcher(tensor.getValue().path("call").asText());
                if (drawn.find()) {
                  String name = tensor.getKey();
                  tests.add(
                      DynamicTest.dynamicTest(
                          file + " " + name, () -> assertNoise(file, name, drawn)));
                }
              });
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void assertNoise(String file, String name, Matcher drawn) {
    try (Goldens goldens = Reference.goldens(file);
        PointerScope scope = new PointerScope()) {
      FluxLatents size = new FluxLatents(integer(drawn, 3), integer(drawn, 4), integer(drawn, 5));
      // Draws from the global generator must change nothing.
      torch.randn(7);
      Tensor noise = size.noise(Long.parseLong(drawn.group(6)), integer(drawn, 2));
      boolean packed = drawn.group(1) != null;
      assertExact(name, goldens.get(name), packed ? size.pack(noise) : noise);
    }
  }

  private static int integer(Matcher matcher, int group) {
    return Integer.parseInt(matcher.group(group));
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
