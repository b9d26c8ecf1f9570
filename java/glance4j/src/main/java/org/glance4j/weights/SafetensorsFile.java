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

/**
 * A memory-mapped safetensors file. Tensors are views of the mapping: no byte is copied, and the
 * mapping lives until this file and every tensor handed out are closed. Thread-safe.
 */
public final class SafetensorsFile implements AutoCloseable {
  private final SafetensorsHeader header;
  private final Tensor mapping;

  private SafetensorsFile(SafetensorsHeader header, Tensor mapping) {
    this.header = header;
    this.mapping = mapping;
  }

  /** Reads the header of {@code file}, checks it, and maps the file. */
  public static SafetensorsFile open(Path file) {
    SafetensorsHeader header = SafetensorsHeader.read(file);
    long fileBytes =
        header.tensors().values().stream().mapToLong(t -> t.offset() + t.bytes()).max().orElse(0);
    try (PointerScope scope = new PointerScope()) {
      Tensor mapping =
          fileBytes == 0
              ? torch.empty(new long[] {0}, new TensorOptions(ScalarType.Byte), null)
              : torch.from_file(
                  file.toString(),
                  new BoolOptional(false),
                  new LongOptional(fileBytes),
                  new TensorOptions(ScalarType.Byte));
      mapping.retainReference();
      return new SafetensorsFile(header, mapping);
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
   * The tensor {@code name} as a view of the mapping. It belongs to the caller's {@link
   * PointerScope}, or to the garbage collector where there is none.
   */
  public Tensor tensor(String name) {
    TensorInfo info = info(name);
    if (info.bytes() == 0) {
      return torch.empty(info.sizes(), new TensorOptions(info.dtype()), null);
    }
    Tensor bytes = mapping.narrow(0, info.offset(), info.bytes());
    if (info.offset() % SafetensorsDtype.bytes(info.dtype()) != 0) {
      // LibTorch views only aligned bytes; files with an odd header length need this copy.
      bytes = bytes.clone();
    }
    return bytes.view(info.dtype()).view(info.sizes());
  }

  /** Gives up this file's share of the mapping. Idempotent. */
  @Override
  public void close() {
    mapping.close();
  }
}
