package org.glance4j.weights;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damages good files at random: each is then either refused as a model file or reads without a
 * crash, and quickly. The seed is fixed, so that a failure comes again.
 */
class SafetensorsFuzzTest {
  private static final int CASES = 4000;
  private static final long MAX_CPU_NANOS = 1_000_000_000;
  private static final Pattern TOKEN = Pattern.compile("\\d+|\"[^\"]*\"|[\\[\\]{},:]");

  private static final List<String> ODD_TOKENS =
      List.of(
          "-1",
          "0",
          "1",
          "1.5",
          "1e9",
          "1e999",
          "4294967296",
          "9223372036854775807",
          "9223372036854775808",
          "18446744073709551616",
          "null",
          "true",
          "[]",
          "{}",
          "\"\"",
          "\"a\"",
          "\"F64\"",
          "\"BOOL\"",
          "\"F8_E4M3\"",
          "\"__metadata__\"",
          "\"\\ud800\"",
          "[[",
          "]",
          "}",
          ",",
          ":",
          "NaN");

  @TempDir Path folder;
  private final Random random = new Random(20_260_101);
  private int refused;

  @Test
  void damagedFilesAreRefusedOrRead() throws IOException {
    Path file = folder.resolve("fuzz.safetensors");
    List<byte[]> seeds = List.of(everyKind(0), everyKind(3), oneTensor());
    torch.zeros(1).close(); // LibTorch is loaded before the clock runs.
    for (int i = 0; i < CASES; i++) {
      byte[] bytes = seeds.get(random.nextInt(seeds.size()));
      bytes = random.nextInt(3) == 0 ? replaceToken(bytes) : bytes;
      for (int n = random.nextInt(3); n >= 0; n--) {
        bytes = damage(bytes);
      }
      Files.write(file, bytes);
      readAll(file, i, bytes);
      Files.delete(file); // Overwriting would wait for the disk.
    }
    assertTrue(refused > CASES / 2 && refused < CASES, refused + " of " + CASES + " refused");
  }

  private void readAll(Path path, int index, byte[] bytes) {
    long start = cpuNanos();
    try (PointerScope scope = new PointerScope();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      file.tensors()
          .keySet()
          .forEach(name -> file.tensor(name).to(ScalarType.Double).sum().item_double());
    } catch (ModelFormatException e) {
      refused++;
    } catch (RuntimeException | Error e) {
      fail("case " + index + ": " + HexFormat.of().formatHex(bytes), e);
    }
    long nanos = cpuNanos() - start;
    assertTrue(nanos < MAX_CPU_NANOS, () -> "case " + index + " took " + nanos + " ns");
  }

  /** Of this thread alone: a busy machine must not fail the test. */
  private static long cpuNanos() {
    return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
  }

  private byte[] damage(byte[] bytes) {
    if (bytes.length == 0) {
      return bytes;
    }
    int at = random.nextInt(bytes.length);
    int length = random.nextInt(1 + Math.min(32, bytes.length - at));
    byte[] damaged = bytes.clone();
    switch (random.nextInt(7)) {
      case 0 -> damaged[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> damaged[at] = (byte) random.nextInt(256);
      case 2 -> damaged[random.nextInt(Math.min(8, bytes.length))] = (byte) random.nextInt(256);
      case 3 -> damaged = Arrays.copyOf(bytes, at);
      case 4 -> damaged = splice(bytes, at, at + length, new byte[0]);
      case 5 -> damaged = splice(bytes, at, at, Arrays.copyOfRange(bytes, at, at + length));
      default -> damaged = splice(bytes, at, at, randomBytes(length));
    }
    return damaged;
  }

  /** Another token in the JSON, with a header length that fits: this gets past the first checks. */
  private byte[] replaceToken(byte[] bytes) {
    int headerEnd = Long.BYTES + ((bytes[0] & 0xFF) | ((bytes[1] & 0xFF) << 8));
    String json = new String(bytes, Long.BYTES, headerEnd - Long.BYTES, StandardCharsets.UTF_8);
    List<MatchResult> tokens = TOKEN.matcher(json).results().toList();
    MatchResult token = tokens.get(random.nextInt(tokens.size()));
    String odd = ODD_TOKENS.get(random.nextInt(ODD_TOKENS.size()));
    String changed = json.substring(0, token.start()) + odd + json.substring(token.end());
    return TestSafetensors.file(
        changed.getBytes(StandardCharsets.UTF_8),
        Arrays.copyOfRange(bytes, headerEnd, bytes.length));
  }

  private byte[] randomBytes(int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }

  private static byte[] splice(byte[] bytes, int from, int to, byte[] middle) {
    byte[] result = new byte[bytes.length - (to - from) + middle.length];
    System.arraycopy(bytes, 0, result, 0, from);
    System.arraycopy(middle, 0, result, from, middle.length);
    System.arraycopy(bytes, to, result, from + middle.length, bytes.length - to);
    return result;
  }

  private static byte[] everyKind(int padding) {
    TestSafetensors writer = new TestSafetensors().pad(padding).metadata("format", "pt");
    writer.floats("scalar", new long[0], 1).floats("empty", new long[] {0, 4});
    for (String dtype : SafetensorsDtype.names().split(", ", -1)) {
      int elementBytes =
          (int) SafetensorsDtype.bytes(Objects.requireNonNull(SafetensorsDtype.of(dtype)));
      writer.add("weights." + dtype, dtype, new long[] {2, 3}, new byte[6 * elementBytes]);
    }
    return writer.toBytes();
  }

  private static byte[] oneTensor() {
    return new TestSafetensors().floats("a", new long[] {2, 2}, 1, 2, 3, 4).toBytes();
  }
}
