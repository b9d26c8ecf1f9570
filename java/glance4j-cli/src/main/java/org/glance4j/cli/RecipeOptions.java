package org.glance4j.cli;

import java.nio.file.Path;
import java.util.List;
import org.glance4j.schedule.ScheduleSpec;
import org.glance4j.train.TrainingRecipe;
import org.glance4j.train.TrainingTarget;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How adapters are trained: what differs from the target's recommended recipe. */
final class RecipeOptions {
  @Option(
      names = "--target",
      paramLabel = "NAME",
      description = {
        "flow: the published recipe, from a picture.",
        "chord: the base model's mean velocity over each step, from captions alone.",
        "chord-cfg: the same with CFG baked in: one evaluation a step.",
        "on-policy: chord from where the student itself arrives.",
        "Default: flow."
      })
  String target = "flow";

  @Option(
      names = "--schedule",
      paramLabel = "NAME",
      description = "The steps the adapters are for, as of generate. Default: glance.")
  @Nullable String schedule;

  @Option(
      names = "--cfg",
      paramLabel = "X",
      description = "CFG the adapters are sampled with; for chord-cfg the teacher's. Default: 1.")
  @Nullable Double cfg;

  @Option(
      names = "--guidance",
      paramLabel = "X",
      description = {
        "Distilled guidance, for models that take it (FLUX.1-dev): for targets other than flow",
        "what the adapters are sampled with, such as 3.5. Default: 1, as published."
      })
  @Nullable Double guidance;

  @Option(names = "--rank", paramLabel = "N", description = "Of the adapters.")
  @Nullable Integer rank;

  @Option(
      names = "--alpha",
      paramLabel = "X",
      description = "The adapters' scale times their rank.")
  @Nullable Double alpha;

  @Option(
      names = "--linears",
      paramLabel = "NAME,...",
      split = ",",
      description = "Linears to adapt, by the end of their names. Default: the recipe's.")
  @Nullable List<String> linears;

  @Option(names = "--steps", paramLabel = "N", description = "Steps of each expert.")
  @Nullable Integer steps;

  @Option(names = "--batch", paramLabel = "N", description = "Examples of each step.")
  @Nullable Integer batch;

  @Option(names = "--learning-rate", paramLabel = "X", description = "Of AdamW.")
  @Nullable Double learningRate;

  @Option(
      names = "--noises",
      paramLabel = "N",
      description = "Trajectories of the base model for each caption.")
  @Nullable Integer noises;

  @Option(names = "--shared", description = "Train one adapter for both phases.")
  boolean shared;

  @Option(names = "--seed", paramLabel = "N", description = "Of everything drawn. Default: 0.")
  long seed;

  /** The recipe for the model in {@code folder}. */
  TrainingRecipe recipe(Path folder) {
    TrainingRecipe.Builder recipe =
        TrainingRecipe.builder(TrainingTarget.parse(target), folder).shared(shared).seed(seed);
    if (schedule != null) {
      recipe.schedule(ScheduleSpec.parse(schedule));
    }
    if (cfg != null) {
      recipe.cfg(cfg);
    }
    if (guidance != null) {
      recipe.guidance(guidance);
    }
    if (rank != null) {
      recipe.rank(rank);
    }
    if (alpha != null) {
      recipe.alpha(alpha);
    }
    if (linears != null) {
      recipe.linears(linears);
    }
    if (steps != null) {
      recipe.steps(steps);
    }
    if (batch != null) {
      recipe.batch(batch);
    }
    if (learningRate != null) {
      recipe.learningRate(learningRate);
    }
    if (noises != null) {
      recipe.noises(noises);
    }
    return recipe.build();
  }
}
