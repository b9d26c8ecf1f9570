package org.glance4j;

import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.Cfg;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.model.TorchThreads;
import org.glance4j.model.Velocity;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One request's way from prompt to pixels. For one thread, once. */
final class Generator {
  private static final Logger log = LoggerFactory.getLogger(Generator.class);

  private final LoadedModel loaded;
  private final ImageModel model;
  private final PromptCache prompts;
  private final ImageRequest request;
  private final Runnable stopCheck;
  private final ImageSize size;
  private final Schedule schedule;
  private final Cfg cfg;
  private final TorchThreads torchThreads;

  private double textSeconds;
  private double denoiseSeconds;
  private double decodeSeconds;

  /**
   * @param request completed
   * @param stopCheck throws if the generation is to stop; asked before each step
   */
  Generator(LoadedModel loaded, PromptCache prompts, ImageRequest request, Runnable stopCheck) {
    this.loaded = loaded;
    this.model = loaded.model();
    this.prompts = prompts;
    this.request = request;
    this.stopCheck = stopCheck;
    this.size = loaded.size(request);
    this.schedule = loaded.schedule(request);
    this.cfg = model.cfg(Objects.requireNonNull(request.cfg()));
    this.torchThreads =
        TorchThreads.of(model, size, Objects.requireNonNull(request.maxTextTokens()));
  }

  Generation run() {
    long start = System.nanoTime();
    requireMemory();
    try (InferenceMode inference = new InferenceMode(true);
        PointerScope scope = new PointerScope();
        Stepper stepper = torchThreads.run(this::prepare)) {
      List<GeneratedImage> images = new ArrayList<>();
      for (int image = 0; image < request.imageCount(); image++) {
        Tensor latents = denoised(stepper, image);
        images.add(decode(latents, image));
      }
      return new Generation(images, stats(start));
    } catch (RuntimeException e) {
      throw DeviceMemory.isExhausted(e) ? tooLarge(e) : e;
    }
  }

  private void requireMemory() {
    long pending = model.pendingBytes();
    String beside = pending == 0 ? "beside the weights" : "with the weights still to be loaded";
    DeviceMemory.require(
        loaded.backend(),
        "a " + size + " picture, " + beside + ",",
        pending + model.workspaceBytes(size, perStep(), schedule.size()),
        "ask for a smaller one");
  }

  private Stepper prepare() {
    long start = System.nanoTime();
    stopCheck.run();
    int textTokens = Objects.requireNonNull(request.maxTextTokens());
    Conditioning positive = prompts.get(request.prompt(), textTokens);
    Conditioning negative = null;
    if (perStep() > 1) {
      String text =
          request.negativePrompt() == null ? model.emptyPrompt() : request.negativePrompt();
      negative = prompts.get(text, textTokens);
    }
    textSeconds = secondsSince(start);
    stopCheck.run();
    long stepperStart = System.nanoTime();
    Stepper stepper =
        loaded.stepper(
            new DenoiseTask(positive, negative, size, request.guidance(), schedule, loaded.mixes()),
            cfg);
    denoiseSeconds = secondsSince(stepperStart);
    return stepper;
  }

  private Tensor initialLatents(int image) {
    Latents given = request.initialLatents();
    return given == null
        ? model.noise(request.seed() + image, size)
        : loaded.backend().place(given.toTensor());
  }

  /** The latents at the schedule's end. */
  private Tensor denoised(Stepper stepper, int image) {
    Tensor latents = stepper.begin(initialLatents(image));
    long start = System.nanoTime();
    for (int i = 0; i < schedule.size(); i++) {
      stopCheck.run();
      long stepStart = System.nanoTime();
      try (PointerScope scope = new PointerScope()) {
        Step step = schedule.steps().get(i);
        int index = i;
        Velocity velocity = torchThreads.run(() -> stepper.step(index));
        log.debug("image {} step {}: {}", image, i, step);
        report(image, i, step, secondsSince(stepStart), latents, velocity);
      }
    }
    denoiseSeconds += secondsSince(start);
    return latents;
  }

  private void report(
      int image, int index, Step step, double seconds, Tensor latents, Velocity velocity) {
    GenerationListener listener = request.listener();
    if (listener != null) {
      Supplier<BufferedImage> preview =
          () -> {
            Tensor clean =
                latents.sub(
                    velocity.combined(cfg.at(step.cfg(cfg.scale()))), new Scalar(step.nextSigma()));
            return GeneratedImage.bufferedImage(
                size.width(), size.height(), model.decode(clean, size));
          };
      listener.onStep(
          new StepEvent(
              image,
              request.imageCount(),
              index,
              schedule.size(),
              step,
              seconds,
              () -> Latents.of(latents.squeeze(0)),
              preview));
    }
  }

  private GeneratedImage decode(Tensor latents, int image) {
    stopCheck.run();
    long start = System.nanoTime();
    byte[] rgb = model.decode(latents, size);
    decodeSeconds += secondsSince(start);
    ImageRequest single =
        request.toBuilder()
            .seed(request.seed() + image)
            .imageCount(1)
            .initialLatents(null)
            .listener(null)
            .build();
    Recipe recipe =
        new Recipe(loaded.source(), loaded.options(), single, request.initialLatents() != null);
    return new GeneratedImage(
        size.width(), size.height(), rgb, Latents.of(latents.squeeze(0)), recipe);
  }

  private GenerationStats stats(long start) {
    return new GenerationStats(
        textSeconds,
        denoiseSeconds,
        decodeSeconds,
        secondsSince(start),
        evaluations() * request.imageCount(),
        schedule.steps());
  }

  /** Of one image. */
  private int evaluations() {
    return schedule.steps().stream()
        .mapToInt(step -> cfg.at(step.cfg(cfg.scale())).isOff() ? 1 : 2)
        .sum();
  }

  /** Evaluations a step, at most. */
  private int perStep() {
    return cfg.mode() == Cfg.Mode.NONE ? 1 : 2;
  }

  private DeviceOutOfMemoryException tooLarge(@Nullable RuntimeException cause) {
    return new DeviceOutOfMemoryException(
        "a %s picture needs more memory than there is; ask for a smaller one".formatted(size),
        cause);
  }

  private static double secondsSince(long nanos) {
    return (System.nanoTime() - nanos) / 1e9;
  }
}
