package org.glance4j.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.AtomicFile;
import org.glance4j.Glance;
import org.glance4j.ImageRequest;
import org.glance4j.ModelFormatException;
import org.glance4j.PngFile;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.weights.SafetensorsWriter;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvaluatorTest {
  private static final Path TINY =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny");
  private static final List<String> PROMPTS = List.of("red apple", "panda");
  private static final EvaluationListener SILENT = (method, picture, done, all) -> {};

  @TempDir Path folder;

  private static Glance glance;

  @BeforeAll
  static void load() {
    glance = Glance.load(TINY);
  }

  @AfterAll
  static void close() {
    glance.close();
  }

  private static Method base(int steps, double cfg) {
    return Method.of("base/" + steps, ScheduleSpec.base(steps), cfg);
  }

  private static EvaluationRequest request(List<Method> methods) {
    return new EvaluationRequest(methods, PROMPTS, List.of(0L, 5L), 1, null, 2);
  }

  /** An adapter of one linear, whose output it changes by {@code strength}. */
  private Path adapter(String name, double strength) throws IOException {
    Path file = folder.resolve(name);
    try (PointerScope scope = new PointerScope()) {
      String linear = "transformer.transformer_blocks.0.attn.to_v.";
      AtomicFile.write(
          file,
          out ->
              SafetensorsWriter.write(
                  out,
                  Map.of(
                      linear + "lora_A.weight",
                      torch.ones(4, 192).mul(new Scalar(0.01)),
                      linear + "lora_B.weight",
                      torch.ones(192, 4).mul(new Scalar(strength))),
                  Map.of()));
    }
    return file;
  }

  @Test
  void comparesWithFiftySteps() {
    Evaluation evaluation =
        Evaluator.evaluate(
            glance, request(List.of(base(2, 1), base(50, 1), base(10, 1), base(5, 2))), SILENT);
    assertEquals(50, evaluation.reference().evaluations());
    MethodResult two = evaluation.methods().get(0);
    MethodResult same = evaluation.methods().get(1);
    MethodResult ten = evaluation.methods().get(2);
    MethodResult guided = evaluation.methods().get(3);
    assertEquals(List.of(2, 50, 10, 10), evaluations(evaluation));
    assertEquals(0, same.latentError());
    assertEquals(100, same.psnr());
    assertEquals(1, same.ssim(), 1e-12);
    assertTrue(two.latentError() > ten.latentError() && ten.latentError() > 0);
    assertTrue(two.psnr() < ten.psnr() && ten.psnr() < 60, ten.psnr() + " dB");
    assertTrue(two.ssim() < ten.ssim() && ten.ssim() < 1);
    assertTrue(two.medianSeconds() > 0 && two.medianSeconds() < same.medianSeconds());
    assertEquals(OptionalDouble.empty(), ten.retrieval());
    assertEquals(ten.method(), evaluation.baselineOf(guided).orElseThrow().method());
    assertTrue(evaluation.baselineOf(ten).isEmpty());
    assertEquals(guided.psnr() - ten.psnr(), guided.psnrAbove(ten).mean(), 1e-9);
  }

  private static List<Integer> evaluations(Evaluation evaluation) {
    return evaluation.methods().stream().map(MethodResult::evaluations).toList();
  }

  @Test
  void eachFigureIsThatOfItsPicture() {
    Evaluation evaluation = Evaluator.evaluate(glance, request(List.of(base(3, 2))), SILENT);
    PictureResult picture = evaluation.methods().get(0).pictures().get(3);
    assertEquals("panda", picture.prompt());
    assertEquals(5, picture.seed());
    ImageRequest.Builder request = ImageRequest.builder("panda").seed(5);
    var reference = glance.generate(request.schedule(ScheduleSpec.base(50)).build()).image();
    var image = glance.generate(request.cfg(2.0).schedule(ScheduleSpec.base(3)).build()).image();
    assertEquals(
        Similarity.latentError(image.latents(), reference.latents()), picture.latentError());
    assertEquals(Similarity.psnr(image, reference), picture.psnr());
    assertEquals(Similarity.ssim(image, reference), picture.ssim());
  }

  @Test
  void methodsTakeTurnsPromptByPrompt() {
    List<String> turns = new ArrayList<>();
    List<Integer> counts = new ArrayList<>();
    Evaluator.evaluate(
        glance,
        request(List.of(base(1, 1), base(2, 1))),
        (method, picture, done, all) -> {
          turns.add(method.name() + " " + picture.prompt() + " " + picture.seed());
          counts.add(done);
          assertEquals(12, all);
        });
    List<String> expected = new ArrayList<>();
    for (String prompt : PROMPTS) {
      for (String method : List.of("reference", "base/1", "base/2")) {
        expected.add(method + " " + prompt + " 0");
        expected.add(method + " " + prompt + " 5");
      }
    }
    assertEquals(expected, turns);
    assertEquals(12, counts.get(11));
  }

  @Test
  void adaptersServeTheirMethodOnly() throws IOException {
    Path slow = adapter("slow.safetensors", 2);
    Path fast = adapter("fast.safetensors", -1);
    ScheduleSpec schedule = ScheduleSpec.glance(2, 2);
    Evaluation evaluation =
        Evaluator.evaluate(
            glance,
            request(
                List.of(
                    Method.of("plain", schedule, 1.0),
                    new Method("adapted", "a", schedule, 1.0, slow, fast, 1),
                    new Method("strength 0", "a", schedule, 1.0, slow, fast, 0),
                    new Method("one", "a", schedule, 1.0, slow, slow, 1),
                    Method.of("plain again", schedule, 1.0))),
            SILENT);
    List<List<Double>> errors =
        evaluation.methods().stream()
            .map(m -> m.pictures().stream().map(PictureResult::latentError).toList())
            .toList();
    assertEquals(errors.get(0), errors.get(4));
    assertEquals(
        evaluation.methods().get(0).latentError(), evaluation.methods().get(2).latentError(), 1e-4);
    assertTrue(Math.abs(errors.get(0).get(0) - errors.get(1).get(0)) > 1e-4, errors.toString());
    assertTrue(Math.abs(errors.get(3).get(0) - errors.get(1).get(0)) > 1e-4, errors.toString());
    assertEquals(OptionalDouble.empty(), evaluation.reference().retrieval());
  }

  @Test
  void nothingIsDrawnBeforeAllIsChecked() throws IOException {
    Path slow = adapter("slow.safetensors", 1);
    Path missing = folder.resolve("missing.safetensors");
    EvaluationListener never =
        (method, picture, done, all) -> {
          throw new AssertionError("drew with " + method);
        };
    EvaluationRequest request =
        request(
            List.of(
                base(1, 1), new Method("a", "a", ScheduleSpec.glance(), 1.0, slow, missing, 1)));
    assertThrows(ModelFormatException.class, () -> Evaluator.evaluate(glance, request, never));
  }

  @Test
  void closingTheModelEndsIt() {
    Glance closing = Glance.load(TINY);
    List<Integer> counts = new ArrayList<>();
    assertThrows(
        IllegalStateException.class,
        () ->
            Evaluator.evaluate(
                closing,
                request(List.of(base(1, 1))),
                (method, picture, done, all) -> {
                  counts.add(done);
                  closing.close();
                }));
    assertEquals(List.of(1), counts);
  }

  @Test
  void countsWhatIsRetrieved() throws IOException {
    Path pictures = Files.createDirectory(folder.resolve("pictures"));
    // The owl's picture has another's name, and its name another picture.
    Map<String, String> names =
        Map.of(
            "red apple", "red apple", "panda", "panda", "owl", "mouse face", "television", "owl");
    for (Map.Entry<String, String> entry : names.entrySet()) {
      ImageRequest request =
          ImageRequest.builder(entry.getKey()).seed(9).schedule(ScheduleSpec.base(10)).build();
      Path file = pictures.resolve(entry.getValue() + ".png");
      glance.generate(request).image().writePng(file);
    }
    Evaluation evaluation =
        Evaluator.evaluate(
            glance,
            new EvaluationRequest(
                List.of(base(10, 1)),
                List.of("red apple", "panda", "owl", "sunflower"),
                List.of(0L),
                1,
                PictureSet.read(pictures),
                0),
            SILENT);
    MethodResult ten = evaluation.methods().get(0);
    assertEquals(
        List.of("red apple", "panda", "mouse face", "null"),
        ten.pictures().stream().map(picture -> String.valueOf(picture.nearest())).toList());
    assertEquals(2 / 3.0, ten.retrieval().orElseThrow(), 1e-12);
    assertTrue(evaluation.table().contains("| retrieval |"), evaluation.table());
  }

  @Test
  void writesItsFiles() throws IOException {
    Evaluation evaluation =
        Evaluator.evaluate(glance, request(List.of(base(1, 1), base(2, 1), base(5, 1))), SILENT);
    evaluation.write(folder, "glance evaluate -o x");
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(
          List.of("evaluation.json", "evaluation.md", "quality.png", "sheet.png"),
          files.map(file -> String.valueOf(file.getFileName())).sorted().toList());
    }
    String table = Files.readString(folder.resolve("evaluation.md"));
    assertTrue(table.contains("    glance evaluate -o x\n"), table);
    assertTrue(table.contains("threads, backend "), table);
    assertTrue(table.contains("| base/2 | base-2, CFG 1 | 2 |"), table);
    JsonNode json = new ObjectMapper().readTree(folder.resolve("evaluation.json").toFile());
    JsonNode last = json.path("methods").path(2);
    assertEquals(evaluation.methods().get(2).psnr(), last.path("psnr").asDouble());
    assertEquals(4, last.path("pictures").size());
    assertTrue(json.path("machine").path("threads").asInt() > 0);
    BufferedImage sheet = PngFile.readImage(folder.resolve("sheet.png"));
    assertTrue(sheet.getHeight() > 4 * 128 && sheet.getWidth() > 2 * 128);
    assertFalse(sheet.getWidth() > 3 * 128 + 240, "two columns are asked for");
  }

  @Test
  void refusesWhatCannotBeCompared() {
    List<Method> methods = List.of(base(1, 1), base(1, 2));
    assertRefused("two methods are named \"base/1\"", methods, PROMPTS, List.of(0L));
    assertRefused("no methods", List.of(), PROMPTS, List.of(0L));
    assertRefused("no prompts", List.of(base(1, 1)), List.of(), List.of(0L));
    assertRefused("no seeds", List.of(base(1, 1)), PROMPTS, List.of());
  }

  private static void assertRefused(
      String part, List<Method> methods, List<String> prompts, List<Long> seeds) {
    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () -> new EvaluationRequest(methods, prompts, seeds, 1, null, 0))
                .getMessage());
    assertTrue(message.contains(part), message);
  }

  @Test
  void theBundledModelHasPrompts() {
    List<String> prompts = Prompts.of(TINY).orElseThrow();
    assertEquals(50, prompts.size());
    assertEquals(50, prompts.stream().distinct().count());
    assertTrue(Prompts.of(folder).isEmpty());
  }
}
