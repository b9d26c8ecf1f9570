package org.glance4j.model.dit;

import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Packing, token positions and start noise of both families, against the reference. */
class PackedLatentsTest {
  private static final int VAE_SCALE = 8;

  /** Groups: the shape, the seed. */
  private static final Pattern DRAWN =
      Pattern.compile("randn\\(([0-9,]+), ?generator=.*manual_seed\\((\\d+)\\)");

  @ParameterizedTest
  @ValueSource(strings = {"flux", "qwen"})
  void packs(String model) {
    assumeTrue(Reference.hasGoldens(model + "_transformer"));
    try (Goldens goldens = Reference.goldens(model + "_transformer");
        PointerScope scope = new PointerScope()) {
      Tensor latents = goldens.get("latents");
      PackedLatents size = sizeOf(latents.sizes().vec().get());
      int height = goldens.entry().get("height").intValue();
      int width = goldens.entry().get("width").intValue();
      assertEquals(size, PackedLatents.forImage(size.channels(), VAE_SCALE, height, width));
      Tensor packed = goldens.get("latents_packed");
      assertExact("packed", packed, size.pack(withoutFrames(latents)));
      Tensor unpacked = goldens.has("latents_unpacked") ? goldens.get("latents_unpacked") : latents;
      assertExact("unpacked", withoutFrames(unpacked), size.unpack(packed));
      if (goldens.has("img_ids")) {
        assertExact("ids", goldens.get("img_ids"), size.positions(0, 0));
      }
    }
  }

  /** Qwen-Image's latents have one frame, before the channels or after them. */
  private static Tensor withoutFrames(Tensor latents) {
    return latents.dim() == 4 ? latents : latents.squeeze(1).squeeze(2);
  }

  /** From the shape of latents, whose last three axes are channels, height, width. */
  private static PackedLatents sizeOf(long[] shape) {
    int axes = shape.length;
    return new PackedLatents((int) shape[axes - 3], (int) shape[axes - 2], (int) shape[axes - 1]);
  }

  /** Every tensor of latents that the manifest says was drawn from a seed. */
  @TestFactory
  List<DynamicTest> noiseOfEverySeed() {
    List<DynamicTest> tests = new ArrayList<>();
    for (String file :
        List.of(
            "flux_transformer",
            "flux_generate",
            "glance_flux",
            "qwen_transformer",
            "qwen_generate",
            "glance_qwen")) {
      if (Reference.hasGoldens(file)) {
        try (Goldens goldens = Reference.goldens(file)) {
          for (String name : goldens.names()) {
            String call = goldens.entry().path("tensors").path(name).path("call").asText();
            Matcher drawn = DRAWN.matcher(call);
            if (name.contains("latents") && drawn.find()) {
              long[] shape =
                  Arrays.stream(drawn.group(1).split(",", -1)).mapToLong(Long::parseLong).toArray();
              long seed = Long.parseLong(drawn.group(2));
              tests.add(
                  DynamicTest.dynamicTest(
                      file + " " + name, () -> assertNoise(file, name, shape, seed)));
            }
          }
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void assertNoise(String file, String name, long[] shape, long seed) {
    try (Goldens goldens = Reference.goldens(file);
        PointerScope scope = new PointerScope()) {
      Tensor expected = goldens.get(name);
      PackedLatents size = sizeOf(shape);
      // Draws from the global generator must change nothing.
      torch.randn(7);
      Tensor noise = size.noise(seed, (int) shape[0]);
      boolean packed = expected.dim() == 3;
      assertExact(
          name, packed ? expected : withoutFrames(expected), packed ? size.pack(noise) : noise);
    }
  }

  @Test
  void refusesSizesWithoutWholePatches() {
    assertThrows(IllegalArgumentException.class, () -> new PackedLatents(16, 3, 4));
    assertThrows(IllegalArgumentException.class, () -> PackedLatents.forImage(16, 8, 15, 64));
  }

  @Test
  void paddingIsCheckedAndOnlyThereWhereLengthsDiffer() {
    assertEquals(null, TextPadding.of(5, 5));
    assertEquals(new TextPadding(7, List.of(5, 7)), TextPadding.of(5, 7));
    assertThrows(IllegalArgumentException.class, () -> new TextPadding(4, List.of(5)));
    assertThrows(IllegalArgumentException.class, () -> TextPadding.of(0, 3));
  }
}
