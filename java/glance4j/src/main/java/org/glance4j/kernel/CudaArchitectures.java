package org.glance4j.kernel;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads lists of CUDA architectures in CMake's notation: {@code 80-real,90a-real,120-virtual}. */
final class CudaArchitectures {
  private static final Pattern SEPARATOR = Pattern.compile("[,;]");
  private static final Pattern ENTRY = Pattern.compile("(\\d+)(\\d)([af]?)(-real|-virtual)?");

  private CudaArchitectures() {}

  /**
   * True if code for one of {@code architectures} runs on a device of compute capability {@code
   * major.minor}.
   *
   * <p>Machine code ({@code real}) runs on its own generation, from its minor version on; code that
   * is compiled on the device ({@code virtual}) on everything later too; with an {@code a} either
   * runs on that very version only.
   */
  static boolean cover(String architectures, int major, int minor) {
    return SEPARATOR.splitAsStream(architectures).anyMatch(entry -> covers(entry, major, minor));
  }

  private static boolean covers(String entry, int major, int minor) {
    Matcher matcher = ENTRY.matcher(entry.strip().toLowerCase(Locale.ROOT));
    if (!matcher.matches()) {
      return false;
    }
    int ofMajor = Integer.parseInt(matcher.group(1));
    int ofMinor = Integer.parseInt(matcher.group(2));
    boolean compiledOnDevice = !"-real".equals(matcher.group(4));
    if ("a".equals(matcher.group(3))) {
      return major == ofMajor && minor == ofMinor;
    }
    boolean later = major > ofMajor && compiledOnDevice && matcher.group(3).isEmpty();
    return later || (major == ofMajor && minor >= ofMinor);
  }
}
