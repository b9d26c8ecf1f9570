package org.glance4j.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.Preset;
import org.glance4j.evaluate.Evaluation;
import org.glance4j.evaluate.EvaluationRequest;
import org.glance4j.evaluate.Evaluator;
import org.glance4j.evaluate.Method;
import org.glance4j.evaluate.PictureSet;
import org.glance4j.evaluate.Prompts;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code glance evaluate}: how close ways of sampling come to the model's own 50 steps. */
@Command(
    name = "evaluate",
    description = {
      "Compares ways of sampling with the model's own 50 steps: latent RMSE, PSNR, SSIM, seconds.",
      "Writes evaluation.md, evaluation.json, quality.png and sheet.png."
    },
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class EvaluateCommand implements Callable<Integer> {
  @Mixin RunOptions run = new RunOptions();

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description = "A prompt a line. Default: prompts.txt of the model's folder.")
  @Nullable Path prompts;

  @Option(
      names = "--seeds",
      paramLabel = "N,...",
      split = ",",
      description = "Seeds of the initial noise. Default: 0,1.")
  List<Long> seeds = List.of(0L, 1L);

  @Option(
      names = "--methods",
      paramLabel = "FILE",
      description = "A method a line, as --method takes them; # begins a comment line.")
  @Nullable Path methodFile;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      description = {
        "'NAME: schedule=base-10 cfg=3.5 slow=FILE fast=FILE scale=1 group=NAME' or",
        "'NAME: preset=NAME' of the model's glance.json; may be repeated.",
        "Defaults: cfg 1, no adapters, scale 1, as group the name up to its first /.",
        "Methods of one group are joined by a line in quality.png.",
        "Without any: base steps 10, 8, 6, 4, 3 and 2, Glance's timesteps without adapters,",
        "and the model's presets."
      })
  List<String> methods = new ArrayList<>();

  @Option(
      names = "--reference-cfg",
      paramLabel = "X",
      description = "Classifier-free guidance of the 50-step reference. Default: 3.5.")
  double referenceCfg = EvaluationRequest.REFERENCE_CFG;

  @Option(
      names = "--pictures",
      paramLabel = "DIR",
      description = {
        "PROMPT.png files: is the nearest the one of the prompt? Default: not asked.",
        "Prompts without a file there do not count."
      })
  @Nullable Path pictures;

  @Option(names = "--samples", paramLabel = "N", description = "Prompts on sheet.png. Default: 10.")
  int samples = EvaluationRequest.SAMPLES;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FOLDER",
      required = true,
      description = "Where the files go; made if it is not there.")
  Path output = Path.of("");

  @Spec CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() throws IOException {
    GlanceOptions options =
        GlanceOptions.builder()
            .dtype(run.dtype)
            .backend(run.backend)
            .threads(run.threads)
            .preset(Preset.NONE)
            .keepResident(run.keepResident)
            .build();
    // All that can be wrong is looked at before the model is loaded, which may take minutes.
    EvaluationRequest request = request();
    makeOutput();
    try (Glance glance =
            run.model == null ? Glance.loadBundled(options) : Glance.load(run.model, options);
        ShutdownGuard guard = new ShutdownGuard(glance);
        EvaluationProgress progress = EvaluationProgress.start()) {
      Evaluation evaluation = Evaluator.evaluate(glance, request, progress);
      progress.close();
      evaluation.write(output, commandLine());
      PrintWriter out = spec.commandLine().getOut();
      out.print(evaluation.table());
      out.flush();
    }
    return 0;
  }

  private EvaluationRequest request() throws IOException {
    Path folder = run.folder();
    return new EvaluationRequest(
        methods(Preset.readAll(folder)),
        prompts == null ? promptsOf(folder) : Prompts.read(prompts),
        seeds,
        referenceCfg,
        pictures == null ? null : PictureSet.read(pictures),
        samples);
  }

  private List<Method> methods(Map<String, Preset> presets) {
    List<Method> all = new ArrayList<>();
    if (methodFile != null) {
      all.addAll(Method.read(methodFile, presets));
    }
    methods.forEach(text -> all.add(Method.parse(text, presets)));
    if (all.isEmpty()) {
      all.addAll(EvaluationRequest.defaultMethods(referenceCfg));
      presets.values().forEach(preset -> all.add(Method.of(preset)));
    }
    return all;
  }

  private static List<String> promptsOf(Path folder) {
    return Prompts.of(folder)
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    folder + " has no prompts.txt; give a list of prompts with --prompts"));
  }

  private void makeOutput() throws IOException {
    if (Files.exists(output) && !Files.isDirectory(output)) {
      throw new IllegalArgumentException(
          "--output " + output + " is a file; name a folder, new or not");
    }
    Files.createDirectories(output);
    Evaluation.requireWritable(output);
  }

  /** As it was typed, with quotes where a shell needs them. */
  private String commandLine() {
    return spec.root().commandLine().getParseResult().originalArgs().stream()
        .map(
            word -> word.matches("[\\w./:=,@%+-]+") ? word : "'" + word.replace("'", "'\\''") + "'")
        .collect(Collectors.joining(" ", "glance ", ""));
  }
}
