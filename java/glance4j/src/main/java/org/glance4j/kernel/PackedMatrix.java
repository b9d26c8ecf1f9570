package org.glance4j.kernel;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.jni.Kernels;
import org.glance4j.kernel.jni.Matrix;
import org.glance4j.kernel.jni.MatrixArgs;
import org.jspecify.annotations.Nullable;

/**
 * A matrix in the layout that a backend's matmuls read: a linear's weight W, or an adapter's A or
 * B. Made once and shared by every call and every thread after that.
 *
 * <p>On {@link Backend#CPU} it is a copy, and the tensor it was made from is free again. Elsewhere
 * it shares the tensor's memory: a later change of the tensor changes it too.
 *
 * <p>Immutable and thread-safe but for {@link #close()}, before which every call must be done. What
 * is never closed is freed by the garbage collector.
 */
public final class PackedMatrix implements AutoCloseable {
  private static final Cleaner CLEANER = Cleaner.create();

  private final Backend backend;
  private final ScalarType dtype;
  private final long rows;
  private final long columns;
  private final @Nullable Tensor tensor;
  private final @Nullable Matrix matrix;
  private final Cleaner.Cleanable memory;
  private volatile boolean closed;

  private PackedMatrix(
      Backend backend,
      ScalarType dtype,
      long rows,
      long columns,
      @Nullable Tensor tensor,
      @Nullable Matrix matrix) {
    this.backend = backend;
    this.dtype = dtype;
    this.rows = rows;
    this.columns = columns;
    this.tensor = tensor;
    this.matrix = matrix;
    this.memory = CLEANER.register(this, new Free(tensor, matrix));
  }

  /**
   * Packs {@code matrix} for a backend.
   *
   * @param matrix f32, bf16 or (not for the CPU) f16, shape [rows, columns], both 1 or more, with
   *     any strides; a transposed view gives the transposed matrix
   * @throws IllegalArgumentException that names {@code matrix}, if it is not one
   * @throws org.glance4j.NativeLoadException if the backend cannot run on this machine
   */
  public static PackedMatrix of(Backend backend, Tensor matrix) {
    Backend resolved = backend.resolve();
    TensorChecks.dtype(resolved, "matrix", matrix);
    if (matrix.dim() != 2 || matrix.size(0) < 1 || matrix.size(1) < 1) {
      throw new IllegalArgumentException(
          "matrix has shape "
              + TensorChecks.shape(matrix)
              + "; it must have two dimensions of 1 or more");
    }
    ScalarType dtype = TensorChecks.type(matrix);
    long rows = matrix.size(0);
    long columns = matrix.size(1);
    if (resolved == Backend.TORCH) {
      return new PackedMatrix(resolved, dtype, rows, columns, share(matrix), null);
    }
    TensorChecks.on(resolved, "matrix", matrix);
    TensorChecks.noGradient("matrix", matrix);
    // On CUDA the matrix only points at the tensor.
    @Nullable Tensor kept = resolved == Backend.CUDA ? share(matrix) : null;
    return new PackedMatrix(resolved, dtype, rows, columns, kept, pack(resolved, matrix));
  }

  /** Another handle of the same tensor, which outlives the caller's scope. */
  private static Tensor share(Tensor tensor) {
    return new Tensor(tensor).retainReference();
  }

  private static Matrix pack(Backend backend, Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      MatrixArgs args = new MatrixArgs();
      args.struct_size(NativeCall.size(MatrixArgs.class));
      args.data(tensor.data_ptr());
      args.rows(tensor.size(0));
      args.columns(tensor.size(1));
      args.row_stride(tensor.stride(0));
      args.column_stride(tensor.stride(1));
      args.dtype(TensorChecks.dtype("matrix", tensor));
      args.device(NativeCall.device(backend));
      args.device_index(NativeCall.deviceIndex(backend, tensor));
      args.reserved(0);
      Matrix matrix = new Matrix();
      NativeLibrary.check(Kernels.glance_matrix_create(args, matrix));
      return matrix;
    } finally {
      Reference.reachabilityFence(tensor);
    }
  }

  /** The number of rows: a linear's outputs. */
  public long rows() {
    return rows;
  }

  /** The number of columns: a linear's inputs. */
  public long columns() {
    return columns;
  }

  /** The type of its elements: Float, BFloat16 or Half. */
  public ScalarType dtype() {
    return dtype;
  }

  /** The backend it was packed for: never {@link Backend#AUTO}. */
  public Backend backend() {
    return backend;
  }

  /**
   * The bytes of memory it holds itself; 0 where it shares the tensor's.
   *
   * @throws IllegalStateException after {@link #close()}
   */
  public long bytes() {
    requireOpen();
    try {
      return matrix == null ? 0 : Kernels.glance_matrix_bytes(matrix);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** The tensor, on {@link Backend#TORCH}. */
  Tensor tensor() {
    requireOpen();
    if (tensor == null) {
      throw new IllegalStateException("a matrix packed for " + backend + " is no tensor");
    }
    return tensor;
  }

  /** The packed form, which lives as long as this object is reachable and not closed. */
  Matrix matrix() {
    requireOpen();
    if (matrix == null) {
      throw new IllegalStateException("a matrix for " + backend + " is not packed");
    }
    return matrix;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException(
          "the packed matrix of %d x %d is closed".formatted(rows, columns));
    }
  }

  /** Frees the memory. Idempotent; no call may be using it. */
  @Override
  public void close() {
    closed = true;
    memory.clean();
  }

  @Override
  public String toString() {
    return "PackedMatrix[%d x %d, %s, %s%s]"
        .formatted(rows, columns, dtype, backend, closed ? ", closed" : "");
  }

  private record Free(@Nullable Tensor tensor, @Nullable Matrix matrix) implements Runnable {
    @Override
    public void run() {
      if (matrix != null) {
        Kernels.glance_matrix_destroy(matrix);
      }
      if (tensor != null) {
        tensor.close();
      }
    }
  }
}
