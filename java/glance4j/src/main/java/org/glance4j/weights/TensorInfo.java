package org.glance4j.weights;

import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * What a safetensors header says of one tensor.
 *
 * @param name the tensor's name
 * @param dtype its element type
 * @param shape its shape; empty for a scalar
 * @param offset where its bytes begin, from the start of the file
 * @param bytes how many bytes it has
 */
public record TensorInfo(String name, ScalarType dtype, List<Long> shape, long offset, long bytes) {
  /** Copies the shape. */
  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** The shape as LibTorch wants it. */
  public long[] sizes() {
    return shape.stream().mapToLong(Long::longValue).toArray();
  }
}
