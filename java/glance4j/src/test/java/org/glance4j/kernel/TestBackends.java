package org.glance4j.kernel;

import java.util.ArrayList;
import java.util.List;
import org.glance4j.NativeLoadException;
import org.jspecify.annotations.Nullable;

/** The backends tests run on. */
public final class TestBackends {
  private TestBackends() {}

  /** Those of this machine: CUDA is among them where it can run. */
  public static List<Backend> all() {
    List<Backend> backends = new ArrayList<>(List.of(Backend.CPU, Backend.TORCH));
    if (whyNoCuda() == null) {
      backends.add(Backend.CUDA);
    }
    return backends;
  }

  /** Why CUDA is not tested, in one line; null if it is. */
  public static @Nullable String whyNoCuda() {
    try {
      Backend.CUDA.resolve();
      return null;
    } catch (NativeLoadException e) {
      return String.valueOf(e.getMessage()).lines().findFirst().orElseThrow();
    }
  }
}
