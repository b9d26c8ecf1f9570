package org.glance4j;

import java.nio.file.Path;
import java.util.Locale;
import org.glance4j.reference.Reference;

/** A family of models in the reference folder, and how its files are named there. */
public enum TestFamily {
  /** FLUX.1, guided by its distilled guidance. */
  FLUX("flux-tiny-random", "guidance", "guidance"),
  /** Qwen-Image, guided by CFG. */
  QWEN("qwen-image-tiny-random", "true_cfg", "glance_cfg");

  private final String folder;
  private final String baseGuidance;
  private final String glanceGuidance;

  TestFamily(String folder, String baseGuidance, String glanceGuidance) {
    this.folder = folder;
    this.baseGuidance = baseGuidance;
    this.glanceGuidance = glanceGuidance;
  }

  /** The random-weight model. */
  public Path model() {
    return Reference.path(folder);
  }

  /** A file of its adapters. */
  public Path adapter(String name) {
    return Reference.path("adapters/" + name().toLowerCase(Locale.ROOT) + "/" + name);
  }

  /** The name of its golden file for {@code what}: {@code flux_train}, {@code qwen_train}. */
  public String golden(String what) {
    return name().toLowerCase(Locale.ROOT) + "_" + what;
  }

  /** The name of its golden file of Glance's schedules. */
  public String glanceGolden() {
    return "glance_" + name().toLowerCase(Locale.ROOT);
  }

  /**
   * How strongly the reference was guided.
   *
   * @param glance true with Glance's schedules, false with the base one
   */
  public double guidance(boolean glance) {
    String key = glance ? glanceGuidance : baseGuidance;
    return Reference.manifest().path("profile").path(key).asDouble();
  }
}
