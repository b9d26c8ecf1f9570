package org.glance4j.evaluate;

import org.bytedeco.pytorch.global.torch;
import org.glance4j.GeneratedImage;
import org.glance4j.GlanceOptions;

/**
 * What seconds were measured on.
 *
 * @param cores that this process may use
 * @param threads of LibTorch and of the kernels
 * @param backend who ran the kernels
 * @param dtype the type the model ran in
 */
public record Machine(String system, int cores, int threads, String backend, String dtype) {
  static Machine of(GeneratedImage image) {
    GlanceOptions options = image.recipe().options();
    return new Machine(
        System.getProperty("os.name") + " " + System.getProperty("os.arch"),
        Runtime.getRuntime().availableProcessors(),
        torch.get_num_threads(),
        options.backend().resolve().toString(),
        options.dtype().toString());
  }
}
