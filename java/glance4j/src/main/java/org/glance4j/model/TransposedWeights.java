package org.glance4j.model;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeLibrary;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * Some linears' weights as the backward kernel reads them, transposed. Each is packed when the
 * gradient of its linear's input is first asked for, which for many linears never happens.
 * Thread-safe but for {@link #close()}.
 */
final class TransposedWeights implements AutoCloseable {
  private final Backend backend;
  private final Weights owner;
  private final List<Tensor> weights;
  private final @Nullable PackedMatrix[] packed;

  /**
   * @param owner of the weights
   * @param weights each [outFeatures, inFeatures]
   */
  TransposedWeights(Backend backend, Weights owner, List<Tensor> weights) {
    this.backend = backend;
    this.owner = owner;
    this.weights = List.copyOf(weights);
    this.packed = new PackedMatrix[weights.size()];
  }

  Backend backend() {
    return backend;
  }

  /** The weight of linear {@code index}, [inFeatures, outFeatures]. */
  synchronized PackedMatrix get(int index) {
    PackedMatrix matrix = packed[index];
    if (matrix == null) {
      Tensor weight = weights.get(index);
      try (TensorScope scope = new TensorScope()) {
        matrix = PackedMatrix.of(backend, weight.t());
      }
      if (owner.isMapped(weight)) {
        NativeLibrary.releaseMappedPages(weight);
      }
      packed[index] = matrix;
    }
    return matrix;
  }

  /** Frees what was packed. Idempotent; no call may be using it. */
  @Override
  public synchronized void close() {
    for (PackedMatrix matrix : packed) {
      if (matrix != null) {
        matrix.close();
      }
    }
    Arrays.fill(packed, null);
  }
}
