package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;

import java.util.Locale;
import org.glance4j.kernel.Cfg;

/** Latents of the models: at 1024 x 1024, 16 x 128 x 128, packed to 4096 tokens of 64 channels. */
public enum FlowShape {
  LARGE_CFG(LARGE, 4096, Cfg.plain(3.5f)),
  LARGE_CFG_RESCALED(LARGE, 4096, Cfg.rescaled(4f)),
  LARGE_NO_CFG(LARGE, 4096, Cfg.NONE),
  BUNDLED_CFG(BUNDLED, 16, Cfg.plain(3.5f));

  static final long CHANNELS = 64;

  private final KernelCase.Family family;
  private final long tokens;
  private final Cfg cfg;

  FlowShape(KernelCase.Family family, long tokens, Cfg cfg) {
    this.family = family;
    this.tokens = tokens;
    this.cfg = cfg;
  }

  KernelCase.Family family() {
    return family;
  }

  long tokens() {
    return tokens;
  }

  Cfg cfg() {
    return cfg;
  }

  /** "4096 x 64 cfg plain". */
  public String text() {
    return tokens + " x " + CHANNELS + " cfg " + cfg.mode().name().toLowerCase(Locale.ROOT);
  }
}
