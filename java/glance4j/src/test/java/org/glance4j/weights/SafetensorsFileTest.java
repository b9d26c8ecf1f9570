package org.glance4j.weights;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.glance4j.weights.Refusal.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsFileTest {
  @TempDir Path folder;
  private PointerScope scope;

  @BeforeEach
  void openScope() {
    scope = new PointerScope();
  }

  @AfterEach
  void closeScope() {
    scope.close();
  }

  @Test
  void readsReferenceValues() {
    try (Goldens goldens = Reference.goldens("flux_transformer")) {
      Tensor expected = goldens.get("latents");
      assertClose("latents", expected, goldens.get("latents_unpacked"), 0);
    }
  }

  /** Each type's bit patterns of -1.5 or -2 or true, and what LibTorch must make of them. */
  static Stream<Arguments> dtypes() {
    return Stream.of(
        Arguments.of("F64", ScalarType.Double, 0xBFF8000000000000L, 8, -1.5),
        Arguments.of("F32", ScalarType.Float, 0xBFC00000L, 4, -1.5),
        Arguments.of("F16", ScalarType.Half, 0xBE00L, 2, -1.5),
        Arguments.of("BF16", ScalarType.BFloat16, 0xBFC0L, 2, -1.5),
        Arguments.of("F8_E4M3", ScalarType.Float8_e4m3fn, 0xBCL, 1, -1.5),
        Arguments.of("F8_E5M2", ScalarType.Float8_e5m2, 0xBEL, 1, -1.5),
        Arguments.of("I64", ScalarType.Long, -2L, 8, -2.0),
        Arguments.of("I32", ScalarType.Int, -2L, 4, -2.0),
        Arguments.of("I16", ScalarType.Short, -2L, 2, -2.0),
        Arguments.of("I8", ScalarType.Char, -2L, 1, -2.0),
        Arguments.of("U8", ScalarType.Byte, 0xFEL, 1, 254.0),
        Arguments.of("BOOL", ScalarType.Bool, 1L, 1, 1.0));
  }

  /** The one-byte tensor in front puts the others at odd offsets: those cannot be views. */
  @ParameterizedTest
  @MethodSource("dtypes")
  void readsEveryTypeAlignedOrNot(
      String name, ScalarType dtype, long bits, int elementBytes, double value) {
    byte[] bytes =
        TestSafetensors.bytes(
            6,
            elementBytes,
            (buffer, i) -> {
              for (int b = 0; b < elementBytes; b++) {
                buffer.put((byte) (bits >>> (8 * b)));
              }
            });
    for (int shift : new int[] {0, 1}) {
      TestSafetensors writer = new TestSafetensors();
      writer.add("shift", "U8", new long[] {shift}, new byte[shift]);
      writer.add("matrix", name, new long[] {2, 3}, bytes);
      Path path = writer.write(folder.resolve(name + shift + ".safetensors"));
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        Tensor tensor = file.tensor("matrix");
        assertEquals(dtype, tensor.scalar_type().intern());
        assertEquals(6, file.info("matrix").elements());
        assertEquals(name, file.info("matrix").dtypeName());
        Tensor expected =
            torch.full(new long[] {2, 3}, new Scalar(value), new TensorOptions(ScalarType.Double));
        assertExact(name, expected, tensor);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 7, 8, 500})
  void readsPaddedHeadersScalarsAndEmptyTensors(int padding) {
    Path path =
        new TestSafetensors()
            .pad(padding)
            .metadata("format", "pt")
            .floats("scalar", new long[0], 4.25f)
            .floats("empty", new long[] {3, 0, 2})
            .floats("vector", new long[] {3}, 1, 2, 3)
            .write(folder.resolve("a.safetensors"));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(Map.of("format", "pt"), file.header().metadata());
      assertEquals(
          List.of("empty", "scalar", "vector"), file.tensors().keySet().stream().sorted().toList());
      assertEquals(0, file.tensor("scalar").dim());
      assertEquals(4.25, file.tensor("scalar").item_double());
      assertArrayEquals(new long[] {3, 0, 2}, file.tensor("empty").sizes().vec().get());
      assertEquals(6, file.tensor("vector").sum().item_double());
    }
  }

  @Test
  void readsAFileWithoutTensors() {
    Path path =
        TestSafetensors.write(
            folder.resolve("a.safetensors"),
            TestSafetensors.file("{}".getBytes(StandardCharsets.UTF_8), new byte[0]));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertTrue(file.tensors().isEmpty());
      assertThrows(ModelFormatException.class, () -> file.tensor("a"));
    }
  }

  @Test
  void tensorsAreTheMappingItself() throws IOException {
    Path path = twoVectors(folder.resolve("a.safetensors"));
    assertTrue(path.toFile().setReadOnly());
    byte[] before = Files.readAllBytes(path);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      Tensor a = file.tensor("a");
      Tensor b = file.tensor("b");
      assertEquals(
          file.info("b").offset() - file.info("a").offset(),
          b.data_ptr().address() - a.data_ptr().address(),
          "both tensors must lie in one mapping");
      a.fill_(new Scalar(9));
      assertEquals(9, file.tensor("a").select(0, 0).item_double(), "a view sees the write");
    }
    assertArrayEquals(before, Files.readAllBytes(path), "the file does not");
  }

  @Test
  void theMappingGoesWithItsLastTensor() {
    Path path = twoVectors(folder.resolve("mapped-once.safetensors"));
    SafetensorsFile file = SafetensorsFile.open(path);
    Tensor a = file.tensor("a");
    file.close();
    file.close();
    assertEquals(3, a.sum().item_double());
    assertTrue(ProcessMemory.maps(path));
    assertThrows(IllegalStateException.class, () -> file.tensor("b"));
    a.close();
    assertFalse(ProcessMemory.maps(path));
  }

  /** Hugging Face caches keep the files elsewhere, under hashes, and link to them. */
  @Test
  void followsLinks() throws IOException {
    Path blob = twoVectors(folder.resolve("blobs/0123abcd"));
    Path snapshot = Files.createDirectories(folder.resolve("snapshots/main"));
    Path link =
        Files.createSymbolicLink(snapshot.resolve("m.safetensors"), snapshot.relativize(blob));
    try (SafetensorsFile file = SafetensorsFile.open(link)) {
      assertEquals(3, file.tensor("a").sum().item_double());
    }
    Files.delete(blob);
    assertRefused(link, () -> SafetensorsFile.open(link), "link to a file that is not there");
  }

  /** The path goes through a URI, so that this works in whatever locale the tests run. */
  private Path awkwardPath() {
    return Path.of(
        URI.create(folder.toUri() + "a%20b%25%C3%BC%E6%97%A5%23%3F/x%F0%9F%90%BC.safetensors"));
  }

  @Test
  void opensPathsWithSpacesAndAnyCharacters() {
    try (SafetensorsFile file = SafetensorsFile.open(twoVectors(awkwardPath()))) {
      assertEquals(3, file.tensor("a").sum().item_double());
    }
  }

  @Test
  void opensSuchPathsInTheCLocale() throws IOException, InterruptedException {
    Path path = twoVectors(awkwardPath());
    String output =
        ChildJvm.run(OpenByUri.class, Map.of("LC_ALL", "C"), List.of(), path.toUri().toString());
    assertTrue(output.endsWith("sum 3.0"), output);
  }

  static final class OpenByUri {
    public static void main(String[] args) {
      try (SafetensorsFile file = SafetensorsFile.open(Path.of(URI.create(args[0])))) {
        System.out.println("sum " + file.tensor("a").sum().item_double());
      }
    }
  }

  @Test
  void readsBehindTwoGibibytesWithoutTouchingTheRest() throws IOException {
    long hole = (1L << 31) + 8;
    Path path = folder.resolve("sparse.safetensors");
    String json =
        """
        {"hole": {"dtype": "U8", "shape": [%d], "data_offsets": [0, %d]},
         "tail": {"dtype": "F32", "shape": [2], "data_offsets": [%d, %d]},
         "odd": {"dtype": "U8", "shape": [1], "data_offsets": [%d, %d]},
         "unaligned": {"dtype": "F32", "shape": [1], "data_offsets": [%d, %d]}}
        """
            .formatted(hole, hole, hole, hole + 8, hole + 8, hole + 9, hole + 9, hole + 13);
    byte[] head = TestSafetensors.file(json.getBytes(StandardCharsets.UTF_8), new byte[0]);
    ByteBuffer tail = ByteBuffer.allocate(13);
    tail.put(TestSafetensors.bytes(1.5f, -2.5f)).put((byte) 7).put(TestSafetensors.bytes(3.5f));
    try (FileChannel channel =
        FileChannel.open(
            path,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      channel.write(ByteBuffer.wrap(head));
      channel.write(tail.flip(), head.length + hole);
    }
    torch.zeros(1).sum().item_double();
    long before = ProcessMemory.residentBytes();
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(-1, file.tensor("tail").sum().item_double());
      assertEquals(7, file.tensor("odd").item_double());
      assertEquals(3.5, file.load("unaligned", ScalarType.Float).item_double());
      assertEquals(hole, file.tensor("hole").numel());
      assertEquals(0, file.tensor("hole").select(0, hole - 1).item_double());
      long grown = ProcessMemory.residentBytes() - before;
      assertTrue(grown < 64 << 20, "resident memory grew by " + grown + " bytes");
    }
  }

  @Test
  void namesWhatCannotBeOpened() throws IOException {
    List<Path> paths = new ArrayList<>();
    paths.add(folder.resolve("none.safetensors"));
    paths.add(Files.createDirectory(folder.resolve("folder.safetensors")));
    paths.add(
        TestSafetensors.write(
            folder.resolve("lfs.safetensors"),
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
                .getBytes(StandardCharsets.UTF_8)));
    for (Path path : paths) {
      assertRefused(path, () -> SafetensorsFile.open(path));
    }
  }

  /** A file that shrinks between reading the header and mapping must not be mapped. */
  @Test
  void refusesAFileThatShrank() throws IOException {
    Path path = twoVectors(folder.resolve("a.safetensors"));
    SafetensorsHeader header = SafetensorsHeader.read(path);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      channel.truncate(header.fileBytes() - 1);
    }
    assertRefused(path, () -> SafetensorsFile.map(header), "mapped");
  }

  private static Path twoVectors(Path path) {
    return new TestSafetensors()
        .floats("a", new long[] {2}, 1, 2)
        .floats("b", new long[] {2}, 3, 4)
        .write(path);
  }
}
