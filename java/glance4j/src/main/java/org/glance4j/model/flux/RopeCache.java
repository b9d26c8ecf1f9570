package org.glance4j.model.flux;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;

/** The rotations of the sizes used last. Thread-safe. */
final class RopeCache implements AutoCloseable {
  /** One size takes 2 MB at 1024 x 1024. */
  private static final int SIZES = 16;

  private record Key(int textTokens, int rows, int columns) {}

  private final List<Integer> axes;
  private final Backend backend;

  /** What falls out is left to the garbage collector: another thread may be computing with it. */
  private final Map<Key, Rope> ropes =
      new LinkedHashMap<>(SIZES, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Rope> eldest) {
          return size() > SIZES;
        }
      };

  /**
   * @param backend where the rotations are read
   */
  RopeCache(List<Integer> axes, Backend backend) {
    this.axes = axes;
    this.backend = backend;
  }

  synchronized Rope get(int textTokens, FluxLatents size) {
    return ropes.computeIfAbsent(
        new Key(textTokens, size.rows(), size.columns()), key -> make(textTokens, size));
  }

  private Rope make(int textTokens, FluxLatents size) {
    try (PointerScope scope = new PointerScope()) {
      Tensor textIds =
          torch.zeros(new long[] {textTokens, axes.size()}, new TensorOptions(ScalarType.Float));
      return Rope.of(torch.cat(new TensorVector(textIds, size.imageIds()), 0), axes)
          .on(backend)
          .retain();
    }
  }

  @Override
  public synchronized void close() {
    ropes.values().forEach(Rope::close);
    ropes.clear();
  }
}
