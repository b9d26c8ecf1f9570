package org.glance4j.model.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.NativeRuntime;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

final class PixelsTest {
  @BeforeAll
  static void libTorch() {
    NativeRuntime.initialize();
  }

  @Test
  void halvesGoToTheEvenLevelAndTheRestIsCut() {
    try (PointerScope scope = new PointerScope()) {
      float[] decoded = {-1, -1.5f, 1, 7, Float.NaN, Float.POSITIVE_INFINITY, 0};
      // 0 is level 127.5.
      byte[] levels = {0, 0, (byte) 255, (byte) 255, 0, (byte) 255, (byte) 128};
      assertArrayEquals(levels, Pixels.toBytes(torch.tensor(decoded).view(1, 1, 1, 7)));
    }
  }

  @Test
  void everyValueGoesToTheNearestLevel() {
    int count = 1 << 16;
    float[] decoded = new float[count];
    byte[] levels = new byte[count];
    for (int i = 0; i < count; i++) {
      decoded[i] = 2.2f * i / count - 1.1f;
      float level = (decoded[i] * 0.5f + 0.5f) * 255;
      levels[i] = (byte) (int) Math.rint(Math.max(0, Math.min(level, 255)));
    }
    try (PointerScope scope = new PointerScope()) {
      assertArrayEquals(levels, Pixels.toBytes(torch.tensor(decoded).view(1, 1, 1, count)));
    }
  }

  @Test
  void channelsBecomeNeighbours() {
    try (PointerScope scope = new PointerScope()) {
      // Two pixels; red, green and blue of both after one another.
      Tensor planes = torch.tensor(new float[] {-1, 1, 0, -1, 1, 0}).view(1, 3, 1, 2);
      byte[] pixels = {0, (byte) 128, (byte) 255, (byte) 255, 0, (byte) 128};
      assertArrayEquals(pixels, Pixels.toBytes(planes));
    }
  }
}
