package org.glance4j.weights;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes safetensors files that hold one float32 tensor. */
public final class SafetensorsWriter {
  /** Data begins at a multiple of this, as other writers do, so that readers can map it. */
  private static final int ALIGNMENT = 8;

  private SafetensorsWriter() {}

  /**
   * Writes one file.
   *
   * @param out receives the file; not closed
   * @param name the tensor's name
   * @param shape its shape; the product is {@code values.length}
   * @param values its elements in row-major order
   */
  public static void write(OutputStream out, String name, long[] shape, float[] values)
      throws IOException {
    byte[] header = header(name, shape, values.length * (long) Float.BYTES);
    int padding = Math.floorMod(-header.length, ALIGNMENT);
    ByteBuffer buffer =
        ByteBuffer.allocate(Long.BYTES + header.length + padding + values.length * Float.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(header.length + (long) padding)
            .put(header)
            .put(" ".repeat(padding).getBytes(StandardCharsets.US_ASCII));
    buffer.asFloatBuffer().put(values);
    out.write(buffer.array());
  }

  private static byte[] header(String name, long[] shape, long bytes) throws IOException {
    JsonMapper json = new JsonMapper();
    ObjectNode root = json.createObjectNode();
    ObjectNode tensor = root.putObject(name).put("dtype", "F32");
    for (long size : shape) {
      tensor.withArray("shape").add(size);
    }
    if (shape.length == 0) {
      tensor.putArray("shape");
    }
    tensor.putArray("data_offsets").add(0).add(bytes);
    return json.writeValueAsBytes(root);
  }
}
