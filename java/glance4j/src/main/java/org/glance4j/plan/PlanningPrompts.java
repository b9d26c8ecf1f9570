package org.glance4j.plan;

import java.util.List;

/** What schedules are planned on unless the caller says otherwise. */
final class PlanningPrompts {
  /**
   * Things that most models can draw, as unlike each other as may be. A model folder's {@code
   * prompts.txt} is not read: plans are judged on it, so they must not have been made on it.
   */
  static final List<String> GENERAL =
      List.of(
          "red apple",
          "cat face",
          "sailboat",
          "sunflower",
          "office building",
          "bicycle",
          "snowman",
          "musical notes");

  private PlanningPrompts() {}
}
