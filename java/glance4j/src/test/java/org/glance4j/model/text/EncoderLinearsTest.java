package org.glance4j.model.text;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.model.text.EncoderLinears.Named;
import org.glance4j.weights.SafetensorsWriter;
import org.glance4j.weights.Weights;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The linears of text encoders on the kernels against LibTorch's in f64. */
class EncoderLinearsTest {
  private static final int IN = 37;
  private static final int OUT = 50;

  @TempDir private Path folder;

  @BeforeEach
  void writeWeights() {
    writeWeights(ScalarType.Double);
  }

  private void writeWeights(ScalarType dtype) {
    try (PointerScope scope = new PointerScope();
        OutputStream out = Files.newOutputStream(folder.resolve("model.safetensors"))) {
      torch.manual_seed(5);
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("a.weight", random(OUT, IN).to(dtype));
      tensors.put("a.bias", random(OUT).to(dtype));
      tensors.put("b.weight", random(2 * OUT, IN).to(dtype));
      SafetensorsWriter.write(out, tensors, Map.of());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Tensor random(long... shape) {
    return torch.randn(shape, new TensorOptions(ScalarType.Double)).mul(new Scalar(0.3));
  }

  @ParameterizedTest
  @EnumSource(Activation.class)
  void convertedWeightsGiveLibTorchsValues(Activation activation) {
    try (PointerScope scope = new PointerScope();
        Weights weights = Weights.open(folder, ScalarType.Float);
        Weights exact = Weights.open(folder, ScalarType.Double);
        EncoderLinears packed = new EncoderLinears(weights, Backend.CPU);
        EncoderLinears plain = new EncoderLinears(exact, Backend.TORCH)) {
      Linear linears = take(packed, activation);
      assertInstanceOf(Linear.Packed.class, linears);
      // Rows that do not lie side by side.
      Tensor x = random(2, IN, 7).transpose(1, 2);
      List<Tensor> expected = take(plain, activation).applyAll(x);
      List<Tensor> actual = linears.applyAll(x.to(ScalarType.Float));
      assertEquals(2, actual.size());
      for (int i = 0; i < 2; i++) {
        assertClose("linear " + i, expected.get(i), actual.get(i), 1e-5);
      }
    }
  }

  private static Linear take(EncoderLinears linears, Activation activation) {
    return linears.take(
        IN, Named.withBias("a", OUT).then(activation), Named.withoutBias("b", 2 * OUT));
  }

  @ParameterizedTest
  @CsvSource({"Float, Float", "Double, BFloat16"})
  void othersAreLibTorchs(ScalarType file, ScalarType model) {
    writeWeights(file);
    try (Weights weights = Weights.open(folder, model);
        EncoderLinears linears = new EncoderLinears(weights, Backend.CPU)) {
      assertInstanceOf(Linear.Torch.class, linears.take(IN, Named.withBias("a", OUT)));
    }
  }

  @Test
  void closingFreesWhatWasPacked() {
    try (PointerScope scope = new PointerScope();
        Weights weights = Weights.open(folder, ScalarType.Float)) {
      EncoderLinears linears = new EncoderLinears(weights, Backend.CPU);
      Linear linear = linears.take(IN, Named.withBias("a", OUT));
      Tensor x = random(3, IN).to(ScalarType.Float);
      linear.apply(x);
      linears.close();
      assertThrows(IllegalStateException.class, () -> linear.apply(x));
    }
  }
}
