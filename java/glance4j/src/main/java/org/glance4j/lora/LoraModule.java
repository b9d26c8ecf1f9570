package org.glance4j.lora;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.SafetensorsHeader;
import org.glance4j.weights.TensorInfo;
import org.jspecify.annotations.Nullable;

/**
 * The tensors that an adapter file holds for one name.
 *
 * @param name the file's name for the linear, as it stands there
 * @param down the tensor A
 * @param up the tensor B
 * @param alpha the scalar alpha, or null if the file has none for this name
 */
record LoraModule(String name, TensorInfo down, TensorInfo up, @Nullable TensorInfo alpha) {
  private enum Role {
    DOWN,
    UP,
    ALPHA
  }

  /** How tensors' names end: PEFT's way, diffusers' older ways, kohya's way. */
  private static final Map<String, Role> SUFFIXES =
      Map.ofEntries(
          Map.entry(".lora_A.weight", Role.DOWN),
          Map.entry(".lora_B.weight", Role.UP),
          Map.entry(".lora_A.default.weight", Role.DOWN),
          Map.entry(".lora_B.default.weight", Role.UP),
          Map.entry(".lora.down.weight", Role.DOWN),
          Map.entry(".lora.up.weight", Role.UP),
          Map.entry(".lora_linear_layer.down.weight", Role.DOWN),
          Map.entry(".lora_linear_layer.up.weight", Role.UP),
          Map.entry(".lora_down.weight", Role.DOWN),
          Map.entry(".lora_up.weight", Role.UP),
          Map.entry(".alpha", Role.ALPHA));

  /** All modules of a file, in file order. Every tensor belongs to one, or this fails. */
  static List<LoraModule> readAll(SafetensorsHeader header) {
    Map<String, Map<Role, TensorInfo>> groups = new LinkedHashMap<>();
    List<String> strangers = new ArrayList<>();
    for (TensorInfo info : header.tensors().values()) {
      if (!group(header, info, groups)) {
        strangers.add(info.name());
      }
    }
    if (groups.isEmpty()) {
      throw new ModelFormatException(
          header.file()
              + ": holds no LoRA tensors, whose names end in .lora_A.weight and .lora_B.weight or"
              + " the like; it holds "
              + Names.list(strangers));
    }
    if (!strangers.isEmpty()) {
      throw new ModelFormatException(
          header.file()
              + ": holds tensors that are no LoRA pair or alpha of a linear, and leaving them out"
              + " would change the picture: "
              + Names.list(strangers));
    }
    return groups.entrySet().stream()
        .map(group -> of(header, group.getKey(), group.getValue()))
        .toList();
  }

  private static boolean group(
      SafetensorsHeader header, TensorInfo info, Map<String, Map<Role, TensorInfo>> groups) {
    for (Map.Entry<String, Role> suffix : SUFFIXES.entrySet()) {
      if (info.name().endsWith(suffix.getKey())) {
        String name = info.name().substring(0, info.name().length() - suffix.getKey().length());
        TensorInfo other =
            groups
                .computeIfAbsent(name, key -> new EnumMap<>(Role.class))
                .put(suffix.getValue(), info);
        if (other != null) {
          throw ModelFormatException.in(
              header.file(), info.name(), "is the same matrix as " + other.name());
        }
        return true;
      }
    }
    return false;
  }

  private static LoraModule of(
      SafetensorsHeader header, String name, Map<Role, TensorInfo> tensors) {
    TensorInfo down = tensors.get(Role.DOWN);
    TensorInfo up = tensors.get(Role.UP);
    if (down == null || up == null) {
      throw ModelFormatException.in(
          header.file(),
          name,
          "has no "
              + (down == null ? "down matrix (lora_A, lora_down)" : "up matrix (lora_B, lora_up)")
              + ", only "
              + tensors.values().stream().map(TensorInfo::name).toList());
    }
    return new LoraModule(name, down, up, tensors.get(Role.ALPHA));
  }
}
