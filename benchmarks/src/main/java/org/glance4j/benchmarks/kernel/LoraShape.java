package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;
import static org.glance4j.benchmarks.kernel.LoraShape.Epilogue.GATED;
import static org.glance4j.benchmarks.kernel.LoraShape.Epilogue.GELU;
import static org.glance4j.benchmarks.kernel.LoraShape.Epilogue.NONE;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.stream.Collectors;

/**
 * The LoRA linears of the models. FLUX.1-dev and Qwen-Image have the same widths; their adapters
 * have ranks 16 and 32. Their 4096 and more rows are cut to 1024 here, for two cores' sake. The
 * bundled model has 16 image tokens and 32 text tokens.
 */
public enum LoraShape {
  LARGE_LINEAR(LARGE, 1024, 3072, new Out(3072, NONE)),
  LARGE_QKV(LARGE, 1024, 3072, new Out(3072, NONE), new Out(3072, NONE), new Out(3072, NONE)),
  LARGE_MLP_UP(LARGE, 1024, 3072, new Out(12288, GELU)),
  LARGE_MLP_DOWN(LARGE, 1024, 12288, new Out(3072, GATED)),

  BUNDLED_IMAGE_QKV(BUNDLED, 16, 192, new Out(192, NONE), new Out(192, NONE), new Out(192, NONE)),
  BUNDLED_TEXT_QKV(BUNDLED, 32, 192, new Out(192, NONE), new Out(192, NONE), new Out(192, NONE)),
  BUNDLED_TEXT_OUT(BUNDLED, 32, 192, new Out(192, GATED)),
  BUNDLED_TEXT_MLP_UP(BUNDLED, 32, 192, new Out(768, GELU)),
  BUNDLED_TEXT_MLP_DOWN(BUNDLED, 32, 768, new Out(192, GATED)),
  BUNDLED_SINGLE_IN(
      BUNDLED,
      48,
      192,
      new Out(192, NONE),
      new Out(192, NONE),
      new Out(192, NONE),
      new Out(768, GELU)),
  BUNDLED_SINGLE_OUT(BUNDLED, 48, 960, new Out(192, GATED));

  /** What follows a product. */
  public enum Epilogue {
    NONE(""),
    GELU(" gelu"),
    GATED(" gate+residual");

    private final String text;

    Epilogue(String text) {
      this.text = text;
    }
  }

  /** One linear of a group that reads one x. */
  public record Out(long features, Epilogue epilogue) {
    @Override
    public String toString() {
      return features + epilogue.text;
    }
  }

  private final KernelCase.Family family;
  private final long tokens;
  private final long inFeatures;
  private final List<Out> outs;

  LoraShape(KernelCase.Family family, long tokens, long inFeatures, Out... outs) {
    this.family = family;
    this.tokens = tokens;
    this.inFeatures = inFeatures;
    this.outs = List.of(outs);
  }

  public KernelCase.Family family() {
    return family;
  }

  /** Of one sample. */
  long tokens() {
    return tokens;
  }

  long inFeatures() {
    return inFeatures;
  }

  List<Out> outs() {
    return outs;
  }

  long outFeatures() {
    return outs.stream().mapToLong(Out::features).sum();
  }

  /** "64 x 192 -> 3x192 + 768 gelu". */
  public String text(int batch) {
    return batch * tokens + " x " + inFeatures + " -> " + outsText();
  }

  private String outsText() {
    return outs.stream()
        .collect(Collectors.groupingBy(Out::toString, LinkedHashMap::new, Collectors.counting()))
        .entrySet()
        .stream()
        .map(entry -> (entry.getValue() == 1 ? "" : entry.getValue() + "x") + entry.getKey())
        .collect(Collectors.joining(" + "));
  }

  static List<LoraShape> of(KernelCase.Family family) {
    return Arrays.stream(values()).filter(shape -> shape.family == family).toList();
  }
}
