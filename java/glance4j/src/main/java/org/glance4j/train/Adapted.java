package org.glance4j.train;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.glance4j.lora.LinearShape;
import org.glance4j.model.ImageModel;

/** Which linears of a model are adapted. */
final class Adapted {
  private Adapted() {}

  /**
   * The linears that {@code wanted} names, wholly or by their end after a dot, as PEFT matches
   * them; with no wanted ones those of the published recipe.
   *
   * @throws IllegalArgumentException if one of the wanted matches none
   */
  static Map<String, LinearShape> linears(ImageModel model, List<String> wanted) {
    Map<String, LinearShape> all = model.linears();
    Map<String, LinearShape> chosen = new TreeMap<>();
    for (String want : wanted.isEmpty() ? model.glanceTargets() : wanted) {
      int before = chosen.size();
      all.forEach(
          (name, shape) -> {
            if (name.equals(want) || name.endsWith("." + want)) {
              chosen.put(name, shape);
            }
          });
      if (chosen.size() == before) {
        throw new IllegalArgumentException(
            "this model has no linear called \"%s\"; it has for example %s"
                .formatted(want, String.join(", ", all.keySet().stream().limit(8).toList())));
      }
    }
    return chosen;
  }
}
