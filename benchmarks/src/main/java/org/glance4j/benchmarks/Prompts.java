package org.glance4j.benchmarks;

import java.util.List;

/**
 * Prompts to cycle through: more than the prompt cache holds, so that each generation encodes its
 * own text.
 */
public final class Prompts {
  /** All of them. */
  public static final List<String> ALL =
      List.of(
          "red apple",
          "sunflower",
          "panda",
          "soccer ball",
          "pizza",
          "rocket",
          "cat face",
          "dog face",
          "hot beverage",
          "birthday cake",
          "evergreen tree",
          "snowman",
          "guitar",
          "bicycle",
          "house",
          "umbrella",
          "key",
          "crown",
          "owl",
          "mushroom",
          "banana",
          "sailboat",
          "telephone",
          "gem stone");

  private int next;

  String next() {
    String prompt = ALL.get(next);
    next = (next + 1) % ALL.size();
    return prompt;
  }
}
