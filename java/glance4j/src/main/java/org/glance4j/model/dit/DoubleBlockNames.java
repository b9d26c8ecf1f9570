package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.List;
import org.glance4j.model.Linears;

/**
 * What a model calls those parts of a double block that not all call the same, each within the
 * block.
 *
 * @param imageModulation the linear of the image's adaptive layer norms
 * @param textModulation that of the text's
 * @param imageMlp the image's MLP
 * @param textMlp the text's
 */
public record DoubleBlockNames(
    String imageModulation, String textModulation, String imageMlp, String textMlp) {
  /**
   * The linears that give {@code count} blocks' vectors, in the order in which the blocks read
   * them: 6 of {@code width} for the image, then 6 for the text.
   */
  public List<Linears.Part> modulation(int count, long width) {
    List<Linears.Part> parts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      parts.add(new Linears.Part(block(i) + "." + imageModulation, 6 * width));
      parts.add(new Linears.Part(block(i) + "." + textModulation, 6 * width));
    }
    return parts;
  }

  static String block(int index) {
    return "transformer_blocks." + index;
  }
}
