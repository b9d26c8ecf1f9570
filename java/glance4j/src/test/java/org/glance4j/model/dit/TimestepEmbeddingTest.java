package org.glance4j.model.dit;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.Linears;
import org.glance4j.model.Probe;
import org.glance4j.weights.SafetensorsWriter;
import org.glance4j.weights.Weights;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is kept of the timesteps of earlier generations. */
class TimestepEmbeddingTest {
  private static final String NAME = "embed.timestep_embedder";
  private static final int WIDTH = 24;

  private final PointerScope scope = new PointerScope();
  private Weights weights;
  private Linears linears;
  private TimestepEmbedding embedding;
  private int computed;

  @BeforeEach
  void open(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("model.safetensors");
    torch.manual_seed(7);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(NAME + ".linear_1.weight", torch.randn(WIDTH, Sinusoids.WIDTH));
    tensors.put(NAME + ".linear_1.bias", torch.randn(WIDTH));
    tensors.put(NAME + ".linear_2.weight", torch.randn(WIDTH, WIDTH));
    tensors.put(NAME + ".linear_2.bias", torch.randn(WIDTH));
    try (OutputStream out = Files.newOutputStream(file)) {
      SafetensorsWriter.write(out, tensors, Map.of());
    }
    weights = Weights.openFile(file, ScalarType.Float);
    linears = new Linears(weights, AdapterMix.NONE, Backend.TORCH);
    Tensor frequencies = Sinusoids.keepFrequencies(weights, ScalarType.Float);
    embedding =
        TimestepEmbedding.take(
            linears,
            "embed",
            WIDTH,
            timesteps -> {
              computed++;
              return Sinusoids.of(torch.outer(timesteps, frequencies), ScalarType.Float);
            });
  }

  @AfterEach
  void close() {
    embedding.close();
    linears.close();
    weights.close();
    scope.close();
  }

  private Tensor embed(AdapterMix mix, float... timesteps) {
    return embedding.forward(torch.tensor(timesteps), mix, Probe.NONE);
  }

  @Test
  void theSameTimestepsAreEmbeddedOnce() {
    try (InferenceMode inference = new InferenceMode(true)) {
      Tensor first = embed(AdapterMix.NONE, 1, 0.5f);
      Tensor again = embed(AdapterMix.NONE, 1, 0.5f);
      assertEquals(1, computed);
      assertExact("again", first, again);
      Tensor turned = embed(AdapterMix.NONE, 0.5f, 1);
      assertEquals(2, computed);
      assertClose("turned", first.flip(0), turned, 1e-6);
    }
  }

  @Test
  void resultsOutliveWhatIsKept() {
    try (InferenceMode inference = new InferenceMode(true)) {
      Tensor first = embed(AdapterMix.NONE, 1);
      Tensor copy = first.clone();
      for (int i = 0; i < 100; i++) {
        embed(AdapterMix.NONE, i / 100f);
      }
      embedding.close();
      assertExact("first", copy, first);
      int before = computed;
      assertExact("computed again", copy, embed(AdapterMix.NONE, 1));
      assertEquals(before + 1, computed);
    }
  }

  @Test
  void adaptersOfTheEmbedderAreApplied() {
    try (InferenceMode inference = new InferenceMode(true)) {
      Tensor base = embed(AdapterMix.NONE, 1);
      LoraPair pair = new LoraPair(torch.randn(2, WIDTH), torch.randn(WIDTH, 2), 1);
      assertExact("others", base, embed(mix("blocks.0.attn.to_q", pair), 1));
      assertEquals(1, computed);
      AdapterMix own = mix(NAME + ".linear_2", pair);
      assertTrue(embed(own, 1).sub(base).abs().max().item_double() > 1e-3);
      pair.up().zero_();
      assertClose("changed since", base, embed(own, 1), 1e-6);
    }
  }

  private static AdapterMix mix(String linear, LoraPair pair) {
    return AdapterMix.of(new LoraAdapter("adapter", Map.of(linear, pair)));
  }

  @Test
  void gradientsAreRecordedWhateverIsKept() {
    try (InferenceMode inference = new InferenceMode(true)) {
      embed(AdapterMix.NONE, 1);
    }
    try (AutoGradMode recording = new AutoGradMode(true)) {
      Tensor up = torch.randn(WIDTH, 2).requires_grad_(true);
      LoraPair pair = new LoraPair(torch.randn(2, WIDTH), up, 1);
      embed(mix(NAME + ".linear_2", pair), 1).sum().backward();
      assertTrue(up.grad().abs().max().item_double() > 0);
      int before = computed;
      embed(AdapterMix.NONE, 1);
      assertEquals(before + 1, computed);
    }
  }
}
