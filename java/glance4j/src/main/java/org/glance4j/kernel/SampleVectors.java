package org.glance4j.kernel;

import org.bytedeco.pytorch.Tensor;

/**
 * Vectors of which each sample of a batch has one, for all its tokens: shape [batch, columns] or
 * [batch, 1, columns].
 *
 * @param stride elements from one sample's vector to the next
 * @param rowsPerVector how many rows of the batch share one
 */
record SampleVectors(long stride, long rowsPerVector) {
  /** No vectors: what the ABI reads of them is not used. */
  static final SampleVectors NONE = new SampleVectors(0, 1);

  /**
   * The layout of {@code vectors} beside a batch.
   *
   * @param batch how many samples there are
   * @param rows how many rows they have together
   * @throws IllegalArgumentException that names the argument, if the shapes do not fit
   */
  static SampleVectors of(String argument, Tensor vectors, long batch, long rows, long columns) {
    long dimensions = vectors.dim();
    boolean fits =
        (dimensions == 2 || (dimensions == 3 && vectors.size(1) == 1))
            && vectors.size(0) == batch
            && vectors.size(dimensions - 1) == columns;
    if (!fits) {
      throw new IllegalArgumentException(
          "%s has shape %s, but must have [%d, %d] or [%d, 1, %d]: one vector a sample"
              .formatted(argument, TensorChecks.shape(vectors), batch, columns, batch, columns));
    }
    long stride = RowLayout.of(argument, vectors).stride();
    return new SampleVectors(stride, Math.max(1, batch == 0 ? 1 : rows / batch));
  }
}
