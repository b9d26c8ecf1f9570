package org.glance4j.kernel;

import java.util.function.Supplier;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.Kernels;
import org.jspecify.annotations.Nullable;

/** What every call of the C ABI needs beside its own arguments. */
final class NativeCall {
  private NativeCall() {}

  /** The size of an argument block, for its first field. */
  static long size(Class<? extends Pointer> struct) {
    return Loader.sizeof(struct);
  }

  /**
   * One object of native memory for each thread that asks. Allocating an argument block costs more
   * than filling it, and a forward pass makes hundreds of calls.
   */
  static <T> ThreadLocal<T> perThread(Supplier<T> maker) {
    return ThreadLocal.withInitial(maker);
  }

  /** Makes {@code pointer} outlive the scope it is made in, until it is not reachable any more. */
  static <P extends Pointer> P keep(P pointer) {
    pointer.retainReference();
    return pointer;
  }

  /** The ABI's name of the device. */
  static int device(Backend backend) {
    return backend == Backend.CUDA ? Kernels.GLANCE_CUDA : Kernels.GLANCE_CPU;
  }

  /** The CUDA device's number; 0 on the CPU. */
  static int deviceIndex(Backend backend, Tensor tensor) {
    if (backend != Backend.CUDA) {
      return 0;
    }
    try (Device device = tensor.device()) {
      // A device without a number is the thread's current one.
      return device.has_index() ? device.index() : torch.getDeviceIndex();
    }
  }

  /** LibTorch's current stream on the tensor's device; null on the CPU. */
  static @Nullable Pointer stream(Backend backend, Tensor tensor) {
    if (backend != Backend.CUDA) {
      return null;
    }
    try (Stream stream = torch.getCurrentStream((byte) deviceIndex(backend, tensor))) {
      return stream.native_handle();
    }
  }

  /**
   * Memory on {@code tensor}'s CUDA device for one call; null for 0 bytes. LibTorch aligns it to
   * 512 bytes.
   *
   * <p>It may be closed as soon as the call returns: LibTorch then hands it out again only to work
   * that is queued later on the same stream, which runs when the call has.
   */
  static @Nullable Tensor workspace(Tensor tensor, long bytes) {
    return bytes == 0
        ? null
        : tensor.new_empty(new long[] {bytes}, new TensorOptions(ScalarType.Byte));
  }

  /** The memory of a tensor that may be missing. */
  static @Nullable Pointer data(@Nullable Tensor tensor) {
    return tensor == null ? null : tensor.data_ptr();
  }

  /** The memory {@code elements} elements behind the beginning of a tensor. */
  static Pointer data(Tensor tensor, long elements) {
    Pointer data = tensor.data_ptr();
    return elements == 0 ? data : data.getPointer(elements * tensor.itemsize());
  }
}
