package org.glance4j.weights;

import java.nio.file.Path;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.jspecify.annotations.Nullable;

/**
 * A memory-mapped safetensors file. Tensors are views of the mapping: no byte is copied, and the
 * mapping lives until this file and every tensor handed out are closed. Thread-safe.
 *
 * <p>The mapping is private and the file is opened for reading only: a write into a tensor goes to
 * this process's own copy of the page, never to the file, which may be read-only. Replacing the
 * file by a rename or deleting it does no harm. <b>Cutting it short while it is mapped does</b>:
 * the operating system then kills the process (SIGBUS) at the first access behind the new end. Give
 * an update of a model another folder, or stop the process first.
 */
public final class SafetensorsFile implements AutoCloseable {
  private final SafetensorsHeader header;
  private final Tensor mapping;
  private boolean closed;

  private SafetensorsFile(SafetensorsHeader header, Tensor mapping) {
    this.header = header;
    this.mapping = mapping;
  }

  /** Reads the header of {@code file}, checks it, and maps the file. */
  public static SafetensorsFile open(Path file) {
    return map(SafetensorsHeader.read(file));
  }

  /** Maps the file that {@code header} was read from. */
  static SafetensorsFile map(SafetensorsHeader header) {
    Path file = header.file();
    try (PointerScope scope = new PointerScope()) {
      Tensor mapping =
          torch.from_file(
              NativePath.of(file),
              new BoolOptional(false),
              new LongOptional(header.fileBytes()),
              new TensorOptions(ScalarType.Byte));
      mapping.retainReference();
      return new SafetensorsFile(header, mapping);
    } catch (ModelFormatException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new ModelFormatException(
          file + ": cannot be mapped into memory: " + firstLine(e.getMessage()), e);
    }
  }

  /** What the header says. */
  public SafetensorsHeader header() {
    return header;
  }

  /** The tensors by name, in file order. */
  public Map<String, TensorInfo> tensors() {
    return header.tensors();
  }

  /** What the header says of the tensor {@code name}. */
  public TensorInfo info(String name) {
    TensorInfo info = header.tensors().get(name);
    if (info == null) {
      throw ModelFormatException.in(header.file(), name, "is not in this file");
    }
    return info;
  }

  /**
   * The tensor {@code name} as a view of the mapping, in the file's own type and with its values
   * unchecked. It belongs to the caller's {@link PointerScope}, or to the garbage collector where
   * there is none. Its data is aligned to its element size, no more.
   *
   * @throws IllegalStateException after {@link #close()}
   */
  public synchronized Tensor tensor(String name) {
    if (closed) {
      throw new IllegalStateException(header.file() + " is closed");
    }
    TensorInfo info = info(name);
    if (info.bytes() == 0) {
      return torch.empty(info.sizes(), new TensorOptions(info.dtype()), null);
    }
    // Each view holds a share of the mapping, so the ones in between are closed here.
    try (Tensor bytes = bytes(info);
        Tensor elements = bytes.view(info.dtype())) {
      return elements.view(info.sizes());
    }
  }

  private Tensor bytes(TensorInfo info) {
    Tensor view = mapping.narrow(0, info.offset(), info.bytes());
    if (info.offset() % SafetensorsDtype.bytes(info.dtype()) == 0) {
      return view;
    }
    // LibTorch views only aligned bytes; files with an odd header length need this copy.
    try (view) {
      return view.clone();
    }
  }

  /**
   * The tensor {@code name} for use in a model: a floating one as {@code dtype} with every value
   * finite, any other as it is. Where the file has {@code dtype} already it is a view, as from
   * {@link #tensor(String)}, and belongs to the same owner.
   *
   * @throws ModelFormatException if a value is NaN or infinite, or becomes so in {@code dtype}
   */
  public Tensor load(String name, ScalarType dtype) {
    TensorInfo info = info(name);
    if (!SafetensorsDtype.isFloating(info.dtype())) {
      return tensor(name);
    }
    try (Tensor stored = tensor(name)) {
      Tensor loaded = stored.to(dtype);
      NonFinite bad = NonFinite.in(loaded);
      if (bad.any()) {
        loaded.close();
        throw ModelFormatException.in(header.file(), name, reason(info, stored, bad, dtype));
      }
      return loaded;
    }
  }

  private static String reason(TensorInfo info, Tensor stored, NonFinite bad, ScalarType dtype) {
    try (PointerScope scope = new PointerScope()) {
      ScalarType wide = info.dtype() == ScalarType.Double ? ScalarType.Double : ScalarType.Float;
      NonFinite inFile = NonFinite.in(stored.to(wide));
      if (inFile.any()) {
        return "has "
            + inFile.describe(info.elements(), info.dtype())
            + "; the file is damaged or was saved from a failed training, get another";
      }
      return bad.infinite()
          + " of "
          + info.elements()
          + " values are too large for "
          + SafetensorsDtype.name(dtype)
          + "; load the model with a wider dtype, such as bf16 or f32";
    }
  }

  /** True if {@code tensor} is a view of this mapping. */
  synchronized boolean maps(Tensor tensor) {
    if (closed) {
      return false;
    }
    long distance = tensor.data_ptr().address() - mapping.data_ptr().address();
    return distance >= 0 && distance < mapping.numel();
  }

  /** LibTorch appends a native stack trace to its messages. */
  private static String firstLine(@Nullable String message) {
    return message == null ? "no reason given" : message.lines().findFirst().orElse(message);
  }

  /** Gives up this file's share of the mapping. Idempotent. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      mapping.close();
    }
  }
}
