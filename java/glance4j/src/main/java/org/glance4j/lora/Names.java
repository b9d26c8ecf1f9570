package org.glance4j.lora;

import java.util.List;

/** Lists of names for messages. */
final class Names {
  private static final int MOST = 20;

  private Names() {}

  /** The names, or the first few and how many more there are. */
  static String list(List<String> names) {
    return names.size() <= MOST
        ? String.join(", ", names)
        : String.join(", ", names.subList(0, MOST)) + " and " + (names.size() - MOST) + " more";
  }
}
