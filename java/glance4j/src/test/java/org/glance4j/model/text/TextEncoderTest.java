package org.glance4j.model.text;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.TestBackends;
import org.glance4j.model.TestFolders;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Both text encoders against the reference's values. */
class TextEncoderTest {
  private static final double TOLERANCE = 1e-5;
  private static final double BF16_TOLERANCE = 3e-2;
  private static final Pattern HIDDEN =
      Pattern.compile("(clip|t5)_hidden_(\\d+)_prompt(\\d+)(?:_(\\d+))?");
  private static final Pattern PADDED = Pattern.compile("t5_out_(\\d+)");
  private static final Pattern ROWS =
      Pattern.compile("t5_input_ids\\[\\[([\\d,]+)]]\\)\\[0]\\[:, \\[([\\d,]+)]]");
  private static final Pattern LAST = Pattern.compile("clip_last_hidden_prompt(\\d+)");

  /** The reference's folders, and the same with weights that are converted. */
  private static final Map<String, Path> MODELS = new LinkedHashMap<>();

  @BeforeAll
  static void makeModels(@TempDir Path temporary) {
    Path model = Reference.path("flux-tiny-random");
    assumeTrue(Files.isDirectory(model));
    MODELS.put("mapped", model);
    for (String encoder : List.of("text_encoder", "text_encoder_2")) {
      Path copy = temporary.resolve(encoder);
      assertTrue(copy.toFile().mkdir());
      TestFolders.widen(TestFolders.copy(model.resolve(encoder), copy));
    }
    MODELS.put("converted", temporary);
  }

  @TestFactory
  List<DynamicTest> clip() {
    return everywhere("clip_(pooled|last_hidden.*|hidden.*)", TextEncoderTest::checkClip);
  }

  @TestFactory
  List<DynamicTest> t5() {
    return everywhere("t5_(out|hidden)_.*", TextEncoderTest::checkT5);
  }

  private interface Check {
    void run(Goldens goldens, String name);
  }

  private interface CheckEverywhere {
    void run(Path model, Backend backend, Goldens goldens, String name);
  }

  private static List<DynamicTest> everywhere(String names, CheckEverywhere check) {
    List<DynamicTest> tests = new ArrayList<>();
    MODELS.forEach(
        (kind, model) -> {
          for (Backend backend : TestBackends.all()) {
            tests.addAll(
                tests(
                    names,
                    backend + " " + kind + " ",
                    (goldens, name) -> check.run(model, backend, goldens, name)));
          }
        });
    return tests;
  }

  private static List<DynamicTest> tests(String names, Check check) {
    return tests(names, "", check);
  }

  private static List<DynamicTest> tests(String names, String prefix, Check check) {
    assumeTrue(Reference.hasGoldens("flux_text"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("flux_text")) {
      goldens.names().stream()
          .filter(name -> name.matches(names))
          .forEach(name -> tests.add(dynamicTest(prefix + name, () -> run(check, name))));
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static void run(Check check, String name) {
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("flux_text")) {
      check.run(goldens, name);
    }
  }

  private static void checkClip(Path model, Backend backend, Goldens goldens, String name) {
    Tensor ids = goldens.get("clip_input_ids");
    List<Tensor> hidden = new ArrayList<>();
    Matcher layer = HIDDEN.matcher(name);
    Matcher last = LAST.matcher(name);
    try (ClipTextEncoder encoder =
        ClipTextEncoder.open(model.resolve("text_encoder"), ScalarType.Float, backend)) {
      ClipOutput output = encoder.forward(ids, x -> hidden.add(x.clone()));
      Tensor actual = output.pooled();
      if (layer.matches()) {
        actual = row(hidden.get(Integer.parseInt(layer.group(2))), layer.group(3));
      } else if (last.matches()) {
        actual = row(output.lastHidden(), last.group(1));
      }
      assertClose(name, goldens.get(name), actual, TOLERANCE);
    }
  }

  private static void checkT5(Path model, Backend backend, Goldens goldens, String name) {
    Matcher layer = HIDDEN.matcher(name);
    Matcher padded = PADDED.matcher(name);
    Matcher rows = ROWS.matcher(goldens.entry().at("/tensors/" + name + "/call").asText());
    List<Tensor> hidden = new ArrayList<>();
    try (T5Encoder encoder =
        T5Encoder.open(model.resolve("text_encoder_2"), ScalarType.Float, backend)) {
      Tensor ids;
      Tensor actual;
      if (layer.matches()) {
        ids = goldens.get("t5_input_ids_" + layer.group(4));
        encoder.forward(ids, x -> hidden.add(x.clone()));
        actual = row(hidden.get(Integer.parseInt(layer.group(2))), layer.group(3));
      } else if (padded.matches()) {
        ids = goldens.get("t5_input_ids_" + padded.group(1));
        actual = encoder.forward(ids);
      } else {
        assertTrue(rows.find(), "no test for " + name);
        ids = goldens.get("t5_input_ids").index_select(0, indices(rows.group(1)));
        actual = encoder.forward(ids).cpu().index_select(1, indices(rows.group(2)));
      }
      assertClose(name, goldens.get(name), actual, tolerance(ids.size(1)));
    }
  }

  /**
   * Attention sums over the tokens, so the float32 reference's own rounding grows with them: its
   * values for 512 tokens are 1e-5 from a float64 computation, for 40 tokens 3e-6.
   */
  private static double tolerance(long tokens) {
    return TOLERANCE * Math.max(1, tokens / 128.0);
  }

  @TestFactory
  List<DynamicTest> bfloat16() {
    return tests(
        "clip_pooled|t5_out_\\d+",
        (goldens, name) -> {
          Tensor actual = name.startsWith("clip") ? clipBf16(goldens) : t5Bf16(goldens, name);
          assertEquals(ScalarType.BFloat16, actual.scalar_type().intern());
          Tensor expected = goldens.get(name);
          double error =
              actual.to(ScalarType.Float).sub(expected).norm().item_double()
                  / expected.norm().item_double();
          assertTrue(error < BF16_TOLERANCE, name + ": relative error " + error);
        });
  }

  private static Tensor clipBf16(Goldens goldens) {
    try (ClipTextEncoder encoder =
        ClipTextEncoder.open(
            Reference.path("flux-tiny-random/text_encoder"), ScalarType.BFloat16, Backend.CPU)) {
      return encoder.forward(goldens.get("clip_input_ids")).pooled();
    }
  }

  private static Tensor t5Bf16(Goldens goldens, String name) {
    Matcher padded = PADDED.matcher(name);
    assertTrue(padded.matches());
    try (T5Encoder encoder =
        T5Encoder.open(
            Reference.path("flux-tiny-random/text_encoder_2"), ScalarType.BFloat16, Backend.CPU)) {
      return encoder.forward(goldens.get("t5_input_ids_" + padded.group(1)));
    }
  }

  private static Tensor row(Tensor batch, String index) {
    return batch.narrow(0, Long.parseLong(index), 1);
  }

  private static Tensor indices(String list) {
    return torch.tensor(Arrays.stream(list.split(",")).mapToLong(Long::parseLong).toArray());
  }
}
