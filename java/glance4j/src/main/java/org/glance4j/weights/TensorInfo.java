package org.glance4j.weights;

import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * What a safetensors header says of one tensor. Does not load LibTorch.
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

  /** How many elements it has: 1 for a scalar. */
  public long elements() {
    return bytes / SafetensorsDtype.bytes(dtype);
  }

  /** The format's own name of the element type, for example {@code BF16}. */
  public String dtypeName() {
    return SafetensorsDtype.name(dtype);
  }

  /** Bytes it takes in memory once a model of type {@code model} has taken it. */
  public long bytesAs(ScalarType model) {
    return SafetensorsDtype.isFloating(dtype) ? elements() * SafetensorsDtype.bytes(model) : bytes;
  }
}
