package org.glance4j.model.flux;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;
import org.glance4j.model.dit.RopeCache;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.Test;

class FluxRopeTest {
  @Test
  void rotationsAreTheReferences() {
    assumeTrue(Reference.hasGoldens("flux_transformer"));
    try (Goldens goldens = Reference.goldens("flux_transformer");
        PointerScope scope = new PointerScope()) {
      List<Integer> axes =
          FluxConfig.read(Reference.path("flux-tiny-random/transformer/config.json")).ropeAxes();
      Tensor ids = torch.cat(new TensorVector(goldens.get("txt_ids"), goldens.get("img_ids")), 0);
      assertRotations(goldens, "rope", FluxRope.of(ids, axes));
      assertRotations(goldens, "rope_big", FluxRope.of(goldens.get("rope_big_ids"), axes));

      Tensor latents = goldens.get("latents");
      PackedLatents size =
          new PackedLatents((int) latents.size(1), (int) latents.size(2), (int) latents.size(3));
      RopeCache.Numbering numbering = (text, image) -> FluxRope.of(text, image, axes);
      try (RopeCache cache = new RopeCache(numbering, Backend.CPU)) {
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
}
