package org.glance4j;

import org.bytedeco.pytorch.Tensor;
import org.glance4j.model.Velocity;

/** Walks the steps of one generation's schedule. For one thread. */
interface Stepper extends AutoCloseable {
  /**
   * Begins a picture.
   *
   * @param noise its initial latents, f32 [1, tokens, channels]; may be changed
   * @return the latents that {@link #step} moves, until the next picture begins
   */
  Tensor begin(Tensor noise);

  /**
   * Moves the latents by one step; when it returns, the device has done the work.
   *
   * @return what the transformer predicted, until the next step
   */
  Velocity step(int index);

  @Override
  void close();
}
