package org.glance4j.benchmarks;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.model.vae.AutoencoderKl;

/**
 * A VAE's decoding on the kernels and on LibTorch, each by itself: their idle threads would get
 * into each other's way. The first third of the calls does not count.
 *
 * <p>Arguments: the folder of an {@code AutoencoderKL}, LATENT_SIDE, THREADS, CALLS.
 */
public final class DecodeComparison {
  private DecodeComparison() {}

  /** Measures and prints a line for each. */
  public static void main(String[] arguments) {
    int side = Integer.parseInt(arguments[1]);
    int calls = Integer.parseInt(arguments[3]);
    NativeRuntime.setThreads(Integer.parseInt(arguments[2]));
    for (Backend backend : List.of(Backend.CPU, Backend.TORCH)) {
      try (NoGradGuard noGrad = new NoGradGuard();
          PointerScope scope = new PointerScope();
          AutoencoderKl vae = AutoencoderKl.open(Path.of(arguments[0]), backend)) {
        Tensor latents = torch.randn(1, vae.latentChannels(), side, side);
        List<Double> millis = new ArrayList<>();
        for (int call = 0; call < calls; call++) {
          long begin = System.nanoTime();
          try (PointerScope picture = new PointerScope()) {
            vae.decode(latents);
          }
          millis.add((System.nanoTime() - begin) / 1e6);
        }
        List<Double> counted = millis.subList(calls / 3, calls).stream().sorted().toList();
        System.out.printf(
            Locale.ROOT,
            "%s: median %.2f ms, least %.2f ms%n",
            backend,
            counted.get(counted.size() / 2),
            counted.get(0));
      }
    }
  }
}
