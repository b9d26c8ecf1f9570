package org.glance4j.weights;

import static org.glance4j.reference.TensorAssert.assertExact;
import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class WeightsTest {
  @TempDir Path temp;

  private Path file() {
    return temp.resolve("model.safetensors");
  }

  /** Every tensor of every component of the reference's model folders, by name and shape. */
  @TestFactory
  Stream<DynamicTest> opensTheReferenceModels() throws IOException {
    List<Path> components;
    try (Stream<Path> files = Files.walk(Reference.root(), 3)) {
      components =
          files
              .filter(p -> Files.exists(p.resolve("config.json")) && WeightFiles.any(p))
              .filter(p -> !p.startsWith(Reference.path("bad")))
              .toList();
    }
    assertFalse(components.isEmpty());
    return components.stream()
        .map(
            folder ->
                DynamicTest.dynamicTest(
                    Reference.root().relativize(folder).toString(), () -> takeAll(folder)));
  }

  private static void takeAll(Path folder) {
    List<TensorInfo> tensors = ModelInventory.of(folder).components().get(0).tensors();
    try (Weights weights = Weights.open(folder, ScalarType.Float)) {
      assertThrows(ModelFormatException.class, weights::requireAllTaken);
      for (TensorInfo info : tensors) {
        assertTrue(weights.contains(info.name()));
        assertEquals(info.elements(), weights.take(info.name(), info.sizes()).numel());
      }
      weights.requireAllTaken();
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = ScalarType.class,
      names = {"Float", "BFloat16", "Half", "Double"})
  void convertsFloatingTensorsAndNoOthers(ScalarType dtype) {
    byte[] halves = TestSafetensors.bytes(2, 2, (buffer, i) -> buffer.putShort((short) 0x3E00));
    byte[] ids = TestSafetensors.bytes(2, 8, (buffer, i) -> buffer.putLong(i + 7));
    new TestSafetensors()
        .floats("f32", new long[] {2}, 1.5f, 1.5f)
        .add("f16", "F16", new long[] {2}, halves)
        .add("f8", "F8_E4M3", new long[] {2}, new byte[] {0x3C, 0x3C})
        .add("ids", "I64", new long[] {2}, ids)
        .add("mask", "BOOL", new long[] {2}, new byte[] {0, 1})
        .floats("empty", new long[] {0})
        .write(file());
    try (PointerScope scope = new PointerScope();
        Weights weights = Weights.open(temp, dtype)) {
      Tensor f32 = weights.take("f32", 2);
      for (String name : List.of("f32", "f16", "f8")) {
        Tensor tensor = weights.take(name, 2);
        assertEquals(dtype, tensor.scalar_type().intern());
        assertExact(name, f32, tensor);
        assertEquals(1.5, tensor.select(0, 1).item_double());
      }
      assertEquals(dtype, weights.take("empty", 0).scalar_type().intern());
      assertEquals(ScalarType.Long, weights.take("ids", 2).scalar_type().intern());
      assertEquals(8, weights.take("ids", 2).select(0, 1).item_long());
      assertEquals(ScalarType.Bool, weights.take("mask", 2).scalar_type().intern());
      weights.requireAllTaken();
    }
  }

  @Test
  void sharesMemoryWhereTheTypeIsTheModels() {
    new TestSafetensors().floats("a", new long[] {2}, 1, 2).write(file());
    try (Weights floats = Weights.open(temp, ScalarType.Float);
        Weights doubles = Weights.openFile(file(), ScalarType.Double)) {
      assertEquals(floats.take("a", 2).data_ptr(), floats.take("a", 2).data_ptr());
      assertNotEquals(doubles.take("a", 2).data_ptr(), doubles.take("a", 2).data_ptr());
    }
  }

  @Test
  void refusesTypesNoModelRunsIn() {
    new TestSafetensors().floats("a", new long[] {1}, 1).write(file());
    assertThrows(IllegalArgumentException.class, () -> Weights.open(temp, ScalarType.Int));
    assertThrows(
        IllegalArgumentException.class, () -> Weights.openFile(file(), ScalarType.Float8_e4m3fn));
  }

  /** Large enough that the search for the values has to divide the tensor. */
  @ParameterizedTest
  @CsvSource({
    "F64, 8, 7FF8000000000000, FFF0000000000000",
    "F32, 4, 7FC00000, FF800000",
    "F16, 2, 7E00, FC00",
    "BF16, 2, 7FC0, FF80",
    "F8_E5M2, 1, 7E, FC",
  })
  void countsWhatIsNotFinite(String dtype, int elementBytes, String nan, String infinity) {
    int count = (2 << 20) + 77;
    byte[] bytes = new byte[count * elementBytes];
    for (int at : new int[] {0, count / 2, count - 1}) {
      put(bytes, at, elementBytes, Long.parseUnsignedLong(nan, 16));
    }
    put(bytes, 1, elementBytes, Long.parseUnsignedLong(infinity, 16));
    // The other sign too: the two sum to NaN, but both must be counted.
    put(
        bytes,
        2,
        elementBytes,
        Long.parseUnsignedLong(infinity, 16) ^ 1L << (8 * elementBytes - 1));
    new TestSafetensors().add("w", dtype, new long[] {count}, bytes).write(file());
    for (ScalarType model : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
      try (Weights weights = Weights.open(temp, model)) {
        assertRefused(
            file(),
            () -> weights.take("w", count),
            ": w: has 3 NaN and 2 infinite of " + count + " " + dtype + " values");
      }
    }
  }

  private static void put(byte[] bytes, int at, int elementBytes, long bits) {
    byte[] element = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(bits).array();
    System.arraycopy(element, 0, bytes, at * elementBytes, elementBytes);
  }

  /** A sum of many large values overflows in f16, which says nothing of the values. */
  @Test
  void acceptsFiniteValuesWhoseSumIsNot() {
    int count = (2 << 20) + 1;
    byte[] halves = TestSafetensors.bytes(count, 2, (buffer, i) -> buffer.putShort((short) 0x7BFF));
    byte[] floats = TestSafetensors.bytes(64, 4, (buffer, i) -> buffer.putFloat(Float.MAX_VALUE));
    new TestSafetensors()
        .add("f16", "F16", new long[] {count}, halves)
        .add("f32", "F32", new long[] {64}, floats)
        .write(file());
    try (Weights half = Weights.open(temp, ScalarType.Half);
        Weights single = Weights.open(temp, ScalarType.Float)) {
      assertEquals(65504, half.take("f16", count).select(0, count - 1).item_double());
      assertEquals(Float.MAX_VALUE, single.take("f32", 64).select(0, 63).item_double());
    }
  }

  @Test
  void refusesFiniteValuesThatOverflowInTheModelsType() {
    new TestSafetensors().floats("w", new long[] {4}, 1, 65504, -70000, 1e30f).write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Half)) {
      assertRefused(
          file(), () -> weights.take("w", 4), ": w: 2 of 4 values are too large for F16", "bf16");
    }
    try (Weights weights = Weights.open(temp, ScalarType.BFloat16)) {
      assertEquals(4, weights.take("w", 4).numel());
    }
  }

  @Test
  void namesWhatIsMissingOrOfAnotherShape() {
    new TestSafetensors().floats("w", new long[] {2, 1}, 1, 2).write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Float)) {
      assertRefused(file(), () -> weights.take("v", 2), ": v: is missing");
      assertRefused(file(), () -> weights.take("w", 2), ": w: has shape [2, 1]", "asks for [2]");
    }
  }

  @Test
  void namesWhatIsLeftOver() {
    TestSafetensors writer = new TestSafetensors();
    IntStream.range(0, 25).forEach(i -> writer.floats("w" + i, new long[] {1}, i));
    writer.write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Float)) {
      weights.take("w0", 1);
      assertRefused(file(), weights::requireAllTaken, ": w1, w2, ", "w20 and 4 more: ");
      weights.ignore(name -> name.length() == 3);
      assertRefused(file(), weights::requireAllTaken, ": w1, w2, w3, w4, w5, w6, w7, w8, w9: ");
      weights.ignore(name -> name.startsWith("w"));
      weights.requireAllTaken();
    }
  }

  @Test
  void ignoredTensorsAreNotChecked() {
    new TestSafetensors().floats("position_ids", new long[] {1}, Float.NaN).write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Float)) {
      weights.ignore(name -> name.endsWith("position_ids")).requireAllTaken();
    }
  }

  @Test
  void stripsAPrefix() {
    new TestSafetensors()
        .floats("text_model.a", new long[] {1}, 1)
        .floats("text_model.b", new long[] {1}, 2)
        .floats("logit_scale", new long[] {1}, 3)
        .write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Float).stripPrefix("text_model.")) {
      assertEquals(1, weights.take("a", 1).item_double());
      assertFalse(weights.contains("text_model.a"));
      assertRefused(file(), () -> weights.take("c", 1), ": text_model.c: is missing");
      assertRefused(file(), () -> weights.take("b", 2), ": text_model.b: has shape");
      assertRefused(file(), weights::requireAllTaken, ": text_model.b, logit_scale: ");
      weights.ignore(name -> name.equals("b")).ignore(name -> name.equals("logit_scale"));
      weights.requireAllTaken();
    }
  }

  @Test
  void refusesAPrefixThatMakesTwoTensorsOne() {
    new TestSafetensors()
        .floats("a", new long[] {1}, 1)
        .floats("text_model.a", new long[] {1}, 1)
        .write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Float)) {
      assertRefused(
          file(), () -> weights.stripPrefix("text_model."), "with and without the prefix");
    }
  }

  @Test
  void closeFreesEverythingOnceWhoeverCalls() {
    Path path = temp.resolve("closed-by-many.safetensors");
    new TestSafetensors().floats("a", new long[] {2}, 1, 2).write(path);
    Weights weights = Weights.openFile(path, ScalarType.Float);
    Tensor taken = weights.take("a", 2);
    assertTrue(ProcessMemory.maps(path));
    CompletableFuture<?>[] closers =
        IntStream.range(0, 8)
            .mapToObj(i -> CompletableFuture.runAsync(weights::close))
            .toArray(CompletableFuture<?>[]::new);
    CompletableFuture.allOf(closers).join();
    weights.close();
    assertTrue(taken.isNull());
    assertFalse(ProcessMemory.maps(path));
    assertThrows(IllegalStateException.class, () -> weights.take("a", 2));
    assertThrows(IllegalStateException.class, () -> weights.contains("a"));
    assertThrows(IllegalStateException.class, weights::requireAllTaken);
  }

  @Test
  void releasesOneTensorAlone() {
    new TestSafetensors().floats("a", new long[] {2}, 1, 2).write(file());
    try (Weights weights = Weights.open(temp, ScalarType.Double)) {
      Tensor first = weights.take("a", 2);
      Tensor second = weights.take("a", 2);
      weights.release(first);
      weights.release(first);
      assertTrue(first.isNull());
      assertEquals(3, second.sum().item_double());
      try (Tensor foreign = second.add(second)) {
        weights.release(foreign);
        assertEquals(6, foreign.sum().item_double());
      }
    }
  }

  @Test
  void aRefusedTensorLeavesNothingMapped() {
    Path path = temp.resolve("refused-tensor.safetensors");
    new TestSafetensors().floats("a", new long[] {2}, 1, Float.NaN).write(path);
    try (Weights weights = Weights.openFile(path, ScalarType.Float)) {
      assertRefused(path, () -> weights.take("a", 2), "1 NaN of 2 F32 values");
    }
    assertFalse(ProcessMemory.maps(path));
  }

  @Test
  void failingHalfWayLeavesNothingMapped() {
    Path first = temp.resolve("first-of-two.safetensors");
    new TestSafetensors().floats("a", new long[] {1}, 1).write(first);
    SafetensorsHeader present = SafetensorsHeader.read(first);
    SafetensorsHeader gone =
        new SafetensorsHeader(
            temp.resolve("gone"), present.fileBytes(), present.tensors(), Map.of());
    WeightFiles files = new WeightFiles(first, List.of(present, gone));
    assertRefused(
        gone.file(),
        () -> new Weights(temp, files, ScalarType.Float, UnaryOperator.identity()),
        "mapped");
    assertFalse(ProcessMemory.maps(first));
  }

  @Test
  void tensorsLieWhereTheyArePlaced() throws IOException {
    new TestSafetensors()
        .floats("a", new long[] {2}, 1, 2)
        .write(temp.resolve("model.safetensors"));
    try (PointerScope scope = new PointerScope();
        Weights weights = Weights.open(temp, ScalarType.Float, Tensor::clone)) {
      Tensor copy = weights.take("a", 2);
      assertFalse(weights.isMapped(copy));
      Tensor kept = weights.keep(copy);
      assertNotEquals(copy.data_ptr(), kept.data_ptr());
    }
  }

  @Test
  void sourcesSayWhereTheyCameFrom() {
    new TestSafetensors().floats("a", new long[] {1}, 1).write(file());
    try (Weights folder = Weights.open(temp, ScalarType.Float);
        Weights single = Weights.openFile(file(), ScalarType.BFloat16)) {
      assertEquals(temp, folder.folder());
      assertEquals(file(), single.folder());
      assertEquals(ScalarType.BFloat16, single.dtype());
    }
  }
}
