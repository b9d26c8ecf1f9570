package org.glance4j.schedule;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads the text forms of a {@link ScheduleSpec}. */
final class SpecText {
  // Four digits are more than any count may have, and fit an int.
  private static final Pattern BASE = Pattern.compile("base(?:-(\\d{1,4}))?");
  private static final Pattern GLANCE = Pattern.compile("glance(?:-(\\d{1,4})-(\\d{1,4}))?");
  private static final Pattern INLINE = Pattern.compile("custom:\\s*\\[(.*)\\]", Pattern.DOTALL);
  private static final String CUSTOM = "custom:";

  private SpecText() {}

  static ScheduleSpec parse(String text, boolean mayReadFile) {
    String spec = text.strip();
    Matcher base = BASE.matcher(spec);
    if (base.matches()) {
      return new BaseSpec(numberOr(base.group(1), BaseSpec.DEFAULT_STEPS));
    }
    Matcher glance = GLANCE.matcher(spec);
    if (glance.matches()) {
      return new GlanceSpec(numberOr(glance.group(1), 5), numberOr(glance.group(2), 5));
    }
    if (spec.equals("official")) {
      return OfficialSpec.INSTANCE;
    }
    Matcher inline = INLINE.matcher(spec);
    if (inline.matches()) {
      return CustomText.parseInline(inline.group(1));
    }
    if (mayReadFile && spec.startsWith(CUSTOM) && spec.length() > CUSTOM.length()) {
      return CustomText.read(toPath(spec.substring(CUSTOM.length())));
    }
    throw new IllegalArgumentException(
        "schedule \""
            + text
            + "\" is not known; use base, base-N, glance, glance-SLOW-FAST, official or custom:"
            + (mayReadFile ? "FILE" : "[slow 1.0, fast 0.6]"));
  }

  private static int numberOr(@Nullable String digits, int fallback) {
    return digits == null ? fallback : Integer.parseInt(digits);
  }

  private static Path toPath(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw new IllegalArgumentException("schedule file \"" + text + "\" is not a file name", e);
    }
  }
}
