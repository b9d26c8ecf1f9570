package org.glance4j.model.flux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraFile;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.dit.Rope;
import org.glance4j.weights.SafetensorsFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The bundled model's adapters, which this library trained, as Python diffusers loads them: what it
 * then predicted is in {@code diffusers/tiny-adapters.safetensors}, made by {@code
 * benchmarks/peers/check_adapter.py}.
 */
class DiffusersAdapterTest {
  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny").toAbsolutePath();
  private static final Path SAID =
      Path.of("src/test/resources/diffusers/tiny-adapters.safetensors");
  private static final double TOLERANCE = 1e-5;

  private static Path file(String phase) {
    return MODEL.resolve("quick-" + phase + ".safetensors");
  }

  @Test
  void theFilesAreThoseThatDiffusersLoaded() throws IOException, NoSuchAlgorithmException {
    try (SafetensorsFile said = SafetensorsFile.open(SAID)) {
      for (String phase : new String[] {"slow", "fast"}) {
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file(phase)));
        assertEquals(
            said.header().metadata().get(phase + ".sha256"), HexFormat.of().formatHex(hash), phase);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"TORCH", "CPU"})
  void velocitiesAreThoseOfDiffusers(Backend backend) {
    NativeRuntime.initialize();
    try (SafetensorsFile said = SafetensorsFile.open(SAID);
        FluxTransformer transformer =
            FluxTransformer.open(MODEL.resolve("transformer"), ScalarType.Float, backend);
        PointerScope scope = new PointerScope();
        InferenceMode inference = new InferenceMode(true)) {
      check(said, transformer, "base", AdapterMix.NONE);
      for (String phase : new String[] {"slow", "fast"}) {
        try (LoraAdapter adapter =
            LoraFile.load(file(phase), ScalarType.Float, transformer.linears())) {
          check(said, transformer, phase, AdapterMix.of(adapter));
          transformer.releaseAdapters();
        }
      }
    }
  }

  private static void check(
      SafetensorsFile said, FluxTransformer transformer, String name, AdapterMix mix) {
    Tensor expected = said.tensor(name + ".velocity");
    Tensor sigmas = said.tensor("in.sigma");
    int side = 2 * (int) Math.sqrt((double) expected.size(1));
    PackedLatents layout = new PackedLatents((int) expected.size(2) / 4, side, side);
    Tensor embeds = said.tensor("in.embeds");
    Rope rope = transformer.rope((int) embeds.size(1), layout);
    for (long i = 0; i < sigmas.numel(); i++) {
      Tensor velocity =
          transformer.forward(
              said.tensor("in.latents"),
              embeds,
              said.tensor("in.pooled"),
              sigmas.narrow(0, i, 1),
              null,
              rope,
              mix);
      Tensor want = expected.narrow(0, i, 1);
      double error = velocity.sub(want).norm().item_double() / want.norm().item_double();
      assertTrue(error < TOLERANCE, "%s, sigma %d: %.3g off".formatted(name, i, error));
    }
  }
}
