package org.glance4j.model;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.kernel.NativeRuntime;
import org.junit.jupiter.api.Test;

class VelocityTest {
  /** A step of length 1 from 0 adds what the update combines. */
  @Test
  void combinesAsTheUpdateDoes() {
    NativeRuntime.initialize();
    for (Cfg cfg : List.of(Cfg.plain(3.5f), Cfg.rescaled(4f), Cfg.rescaled(1f))) {
      try (PointerScope scope = new PointerScope()) {
        Tensor positive = torch.randn(1, 5, 8);
        Tensor negative = torch.randn(1, 5, 8);
        positive.select(1, 2).zero_();
        negative.select(1, 2).zero_();
        Tensor latents = torch.zeros(1, 5, 8);
        FlowStep.on(Backend.TORCH, FlowStep.Rounding.ONCE)
            .update(latents, positive, negative, cfg, 0, 1, null);
        Tensor combined = new Velocity(positive, negative).combined(cfg);
        assertClose(cfg.toString(), latents, combined, 1e-6);
        assertSame(positive, new Velocity(positive, null).combined(cfg));
      }
    }
  }
}
