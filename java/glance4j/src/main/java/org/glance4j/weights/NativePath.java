package org.glance4j.weights;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.bytedeco.javacpp.BytePointer;
import org.glance4j.ModelFormatException;

/** Hands a path to native code as the bytes that the operating system knows it by. */
final class NativePath {
  private NativePath() {}

  /**
   * The bytes of {@code file}'s absolute path, ended by a zero byte.
   *
   * <p>A Java string is not enough: with {@code LANG=C}, usual in containers, the path's text has
   * already lost every character outside ASCII. Only the URI form spells out the bytes themselves.
   */
  static BytePointer of(Path file) {
    URI uri = file.toUri();
    if (!"file".equals(uri.getScheme())) {
      throw new ModelFormatException(
          file
              + ": cannot be mapped into memory from \""
              + uri.getScheme()
              + ":\"; copy it to disk");
    }
    byte[] escaped = uri.getRawPath().getBytes(StandardCharsets.US_ASCII);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(escaped.length + 1);
    for (int i = 0; i < escaped.length; i++) {
      if (escaped[i] == '%') {
        bytes.write(Character.digit(escaped[i + 1], 16) << 4 | Character.digit(escaped[i + 2], 16));
        i += 2;
      } else {
        bytes.write(escaped[i]);
      }
    }
    bytes.write(0);
    return new BytePointer(bytes.toByteArray());
  }
}
