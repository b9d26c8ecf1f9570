package org.glance4j.lora;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.SafetensorsFile;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads LoRA adapters from safetensors files.
 *
 * <p>Names understood, in any mix: {@code transformer.X.lora_A.weight} (PEFT, diffusers), the same
 * without prefix, {@code X.lora.down.weight} (the Glance authors' files), {@code
 * diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight} (ComfyUI), {@code
 * lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight} (kohya) and {@code
 * lora_transformer_X.lora_down.weight} (OneTrainer). A name that is several linears of the model in
 * one is split.
 *
 * <p>The scale is alpha / rank. Alpha comes from a {@code .alpha} tensor or, failing that, from the
 * header's {@code lora_adapter_metadata}. Where a file gives none, the caller says the scale; the
 * default is 1, that is alpha = rank. The Glance authors train with alpha = 4 * rank and save no
 * alpha, so <b>their files want 4</b>.
 *
 * <p>Every tensor is used or loading fails and names the tensors left over. A missing half of a
 * pair, a rank or width that does not fit, a NaN or an infinity is an error too.
 */
public final class LoraFile {
  private static final Logger LOG = LoggerFactory.getLogger(LoraFile.class);

  private LoraFile() {}

  /** As {@link #load(Path, ScalarType, Map, double)} with a scale of 1. */
  public static LoraAdapter load(Path file, ScalarType dtype, Map<String, LinearShape> linears) {
    return load(file, dtype, linears, 1);
  }

  /**
   * Reads the adapter in {@code file}. Matrices that have {@code dtype} already stay where they
   * are, in the mapped file.
   *
   * @param dtype what the matrices are converted to
   * @param linears every linear of the transformer that may have an adapter, by its name in
   *     diffusers' weights, for example {@code transformer_blocks.0.attn.to_q}
   * @param scaleWithoutAlpha the scale of linears for which the file gives no alpha
   * @throws ModelFormatException naming file, tensor and reason
   */
  public static LoraAdapter load(
      Path file, ScalarType dtype, Map<String, LinearShape> linears, double scaleWithoutAlpha) {
    if (!Double.isFinite(scaleWithoutAlpha)) {
      throw new IllegalArgumentException("scale " + scaleWithoutAlpha + " must be a finite number");
    }
    try (SafetensorsFile tensors = SafetensorsFile.open(file);
        PointerScope scope = new PointerScope()) {
      List<LoraModule> modules = LoraModule.readAll(tensors.header());
      Map<LoraModule, LoraTarget> targets = findTargets(file, modules, linears);
      LoraReader reader = new LoraReader(tensors, dtype, linears, scaleWithoutAlpha);
      reader.requireMetadataUsed(modules);
      targets.forEach(reader::add);
      if (reader.withoutAlpha() > 0) {
        LOG.warn(
            "{}: no alpha for {} of {} linears, whose scale is {}",
            file,
            reader.withoutAlpha(),
            modules.size(),
            scaleWithoutAlpha);
      }
      return adapter(file, reader.pairs());
    }
  }

  private static Map<LoraModule, LoraTarget> findTargets(
      Path file, List<LoraModule> modules, Map<String, LinearShape> linears) {
    LoraNames names = new LoraNames(linears.keySet());
    Map<LoraModule, LoraTarget> targets = new LinkedHashMap<>();
    List<String> unknown = new ArrayList<>();
    for (LoraModule module : modules) {
      LoraTarget target = names.find(module.name());
      if (target == null) {
        unknown.add(module.name());
      } else {
        targets.put(module, target);
      }
    }
    if (!unknown.isEmpty()) {
      throw new ModelFormatException(file + ": " + describe(unknown));
    }
    return targets;
  }

  private static String describe(List<String> unknown) {
    List<String> textEncoder = unknown.stream().filter(LoraNames::isTextEncoder).toList();
    return textEncoder.isEmpty()
        ? "the model has no linears called " + Names.list(unknown)
        : "adapts a text encoder, which is not supported; use a file for the transformer only: "
            + Names.list(textEncoder);
  }

  /** Takes the pairs out of the current scope. */
  private static LoraAdapter adapter(Path file, Map<String, LoraPair> pairs) {
    pairs
        .values()
        .forEach(
            pair -> {
              pair.down().retainReference();
              pair.up().retainReference();
            });
    return new LoraAdapter(String.valueOf(file.getFileName()), pairs);
  }
}
