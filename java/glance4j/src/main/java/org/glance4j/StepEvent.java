package org.glance4j;

import java.awt.image.BufferedImage;
import java.util.function.Supplier;
import org.glance4j.schedule.Step;

/**
 * One denoising step that has just been done. Valid only during the listener's call.
 *
 * @param image which image of the request, from 0
 * @param images how many images the request asks for
 * @param index which step, from 0
 * @param steps how many steps the schedule has
 * @param step the step's phase and sigmas
 * @param seconds how long this step took
 * @param latentsSource see {@link #latents()}
 * @param previewSource see {@link #preview()}
 */
public record StepEvent(
    int image,
    int images,
    int index,
    int steps,
    Step step,
    double seconds,
    Supplier<Latents> latentsSource,
    Supplier<BufferedImage> previewSource) {
  /** Copies the latents as they are after this step. */
  public Latents latents() {
    return latentsSource.get();
  }

  /**
   * Decodes the picture the model expects at this point: {@code x_0 = x - sigma * v}. Costs a VAE
   * decode each time it is called; not called, it costs nothing.
   */
  public BufferedImage preview() {
    return previewSource.get();
  }
}
