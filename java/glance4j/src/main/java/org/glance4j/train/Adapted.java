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
   * The linears that the recipe names, wholly or by their end after a dot, as PEFT matches them. If
   * it names none, those of the published recipe where a picture is learnt from, and otherwise the
   * modulation, whose corrections carry over best to other prompts.
   *
   * @throws IllegalArgumentException if one of the names matches none
   */
  static Map<String, LinearShape> linears(ImageModel model, TrainingRecipe recipe) {
    Map<String, LinearShape> all = model.linears();
    Map<String, LinearShape> chosen = new TreeMap<>();
    for (String want : wanted(model, recipe)) {
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

  private static List<String> wanted(ImageModel model, TrainingRecipe recipe) {
    if (!recipe.linears().isEmpty()) {
      return recipe.linears();
    }
    return recipe.target().needsPicture() ? model.glanceTargets() : model.modulationTargets();
  }
}
