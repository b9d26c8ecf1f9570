package org.glance4j.weights;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/** Writes safetensors files. The same tensors and metadata give the same bytes. */
public final class SafetensorsWriter {
  /** Data begins at a multiple of this, as other writers do, so that readers can map it. */
  private static final int ALIGNMENT = 8;

  private static final int CHUNK_BYTES = 1 << 20;

  private SafetensorsWriter() {}

  /**
   * Writes one file.
   *
   * @param out receives the file; not closed
   * @param tensors by name, on any device; written in the map's order
   * @param metadata for the header's {@code __metadata__}, in the map's order; none if empty
   */
  public static void write(
      OutputStream out, Map<String, Tensor> tensors, Map<String, String> metadata)
      throws IOException {
    byte[] header = header(tensors, metadata);
    int padding = Math.floorMod(-header.length, ALIGNMENT);
    ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    out.write(length.putLong(header.length + (long) padding).array());
    out.write(header);
    out.write(" ".repeat(padding).getBytes(StandardCharsets.US_ASCII));
    for (Tensor tensor : tensors.values()) {
      writeData(out, tensor);
    }
  }

  private static byte[] header(Map<String, Tensor> tensors, Map<String, String> metadata)
      throws IOException {
    JsonMapper json = new JsonMapper();
    ObjectNode root = json.createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode texts = root.putObject("__metadata__");
      metadata.forEach(texts::put);
    }
    long begin = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      long end = begin + tensor.numel() * tensor.element_size();
      ObjectNode node =
          root.putObject(entry.getKey())
              .put("dtype", SafetensorsDtype.name(tensor.scalar_type().intern()));
      node.putArray("shape");
      for (long d = 0; d < tensor.dim(); d++) {
        node.withArray("shape").add(tensor.size(d));
      }
      node.putArray("data_offsets").add(begin).add(end);
      begin = end;
    }
    return json.writeValueAsBytes(root);
  }

  private static void writeData(OutputStream out, Tensor tensor) throws IOException {
    try (PointerScope scope = new PointerScope()) {
      Tensor contiguous = tensor.detach().cpu().contiguous();
      long bytes = contiguous.numel() * contiguous.element_size();
      BytePointer data = new BytePointer(contiguous.data_ptr());
      byte[] chunk = new byte[(int) Math.min(bytes, CHUNK_BYTES)];
      for (long at = 0; at < bytes; at += chunk.length) {
        int count = (int) Math.min(chunk.length, bytes - at);
        data.position(at).get(chunk, 0, count);
        out.write(chunk, 0, count);
      }
    }
  }
}
