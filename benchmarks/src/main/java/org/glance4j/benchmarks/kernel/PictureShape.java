package org.glance4j.benchmarks.kernel;

import static org.glance4j.benchmarks.kernel.KernelCase.Family.BUNDLED;
import static org.glance4j.benchmarks.kernel.KernelCase.Family.LARGE;

/** Pictures inside the VAEs' decoders, and the convolutions over them. */
public enum PictureShape {
  LARGE_COARSE(LARGE, 512, 64, false),
  LARGE_FINE(LARGE, 128, 256, false),
  LARGE_DOUBLED(LARGE, 256, 64, true),
  BUNDLED_COARSE(BUNDLED, 96, 8, false),
  BUNDLED_FINE(BUNDLED, 32, 64, false),
  BUNDLED_DOUBLED(BUNDLED, 32, 32, true);

  private final KernelCase.Family family;
  private final long channels;
  private final long side;
  private final boolean doubled;

  PictureShape(KernelCase.Family family, long channels, long side, boolean doubled) {
    this.family = family;
    this.channels = channels;
    this.side = side;
    this.doubled = doubled;
  }

  KernelCase.Family family() {
    return family;
  }

  /** In and out. */
  long channels() {
    return channels;
  }

  /** Height and width of x. */
  long side() {
    return side;
  }

  /** True to double the size before convolving; false for a group norm, SiLU and a residual. */
  boolean doubled() {
    return doubled;
  }

  /** Of y, for each channel. */
  double pixels() {
    double times = doubled ? 2 : 1;
    return times * times * side * side;
  }

  /** "64 x 64 x 512, norm + SiLU + residual". */
  public String text() {
    return side
        + " x "
        + side
        + " x "
        + channels
        + (doubled ? ", doubled" : ", norm + SiLU + residual");
  }
}
