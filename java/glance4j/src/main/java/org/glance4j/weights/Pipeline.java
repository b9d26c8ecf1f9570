package org.glance4j.weights;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** The pipelines this library runs, and the component classes each of them is made of. */
public enum Pipeline {
  /** Black Forest Labs' FLUX.1, text to image. */
  FLUX(
      "FluxPipeline",
      Map.of(
          "scheduler", List.of(diffusers("FlowMatchEulerDiscreteScheduler")),
          "text_encoder", List.of(transformers("CLIPTextModel")),
          "text_encoder_2", List.of(transformers("T5EncoderModel")),
          "tokenizer", List.of(transformers("CLIPTokenizer"), transformers("CLIPTokenizerFast")),
          "tokenizer_2", List.of(transformers("T5TokenizerFast"), transformers("T5Tokenizer")),
          "transformer", List.of(diffusers("FluxTransformer2DModel")),
          "vae", List.of(diffusers("AutoencoderKL"))),
      // Only image prompts use these.
      Set.of("feature_extractor", "image_encoder")),

  /** Alibaba's Qwen-Image, text to image. */
  QWEN_IMAGE(
      "QwenImagePipeline",
      Map.of(
          "scheduler", List.of(diffusers("FlowMatchEulerDiscreteScheduler")),
          "text_encoder", List.of(transformers("Qwen2_5_VLForConditionalGeneration")),
          "tokenizer", List.of(transformers("Qwen2Tokenizer"), transformers("Qwen2TokenizerFast")),
          "transformer", List.of(diffusers("QwenImageTransformer2DModel")),
          "vae", List.of(diffusers("AutoencoderKLQwenImage"))),
      Set.of());

  private final String className;
  private final Map<String, List<ComponentClass>> components;
  private final Set<String> unused;

  Pipeline(String className, Map<String, List<ComponentClass>> components, Set<String> unused) {
    this.className = className;
    this.components = components;
    this.unused = unused;
  }

  private static ComponentClass diffusers(String name) {
    return new ComponentClass("diffusers", name);
  }

  private static ComponentClass transformers(String name) {
    return new ComponentClass("transformers", name);
  }

  /** The name that {@code model_index.json} has under {@code _class_name}. */
  public String className() {
    return className;
  }

  /** The components a folder must have, each with the classes it may be. */
  Map<String, List<ComponentClass>> components() {
    return components;
  }

  /** Components a folder may have of any class: making an image from text never touches them. */
  Set<String> unused() {
    return unused;
  }

  static Optional<Pipeline> of(String className) {
    return Arrays.stream(values()).filter(p -> p.className.equals(className)).findFirst();
  }

  /** All class names, for messages. */
  static String classNames() {
    return Arrays.stream(values()).map(Pipeline::className).collect(Collectors.joining(", "));
  }
}
