package org.glance4j.model.flux;

import java.nio.file.Path;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.text.ClipTextEncoder;
import org.glance4j.model.text.T5Encoder;

/**
 * A FLUX model's text encoders. Any number of threads may use them at once; none may while they are
 * closed.
 *
 * @param clip from {@code text_encoder}
 * @param t5 from {@code text_encoder_2}
 */
record FluxTextEncoders(ClipTextEncoder clip, T5Encoder t5) implements AutoCloseable {
  private static final String CLIP = "text_encoder";
  private static final String T5 = "text_encoder_2";

  /**
   * Loads both.
   *
   * @param dtype of the weights and the outputs
   * @param backend where the encoders compute
   * @throws ModelFormatException if a file is missing or malformed
   */
  static FluxTextEncoders open(Path modelFolder, ScalarType dtype, Backend backend) {
    ClipTextEncoder clip = ClipTextEncoder.open(modelFolder.resolve(CLIP), dtype, backend);
    try {
      return new FluxTextEncoders(clip, T5Encoder.open(modelFolder.resolve(T5), dtype, backend));
    } catch (RuntimeException | Error e) {
      clip.close();
      throw e;
    }
  }

  /** Checks both, reading no weights: what comes of it only tells the widths. */
  static FluxTextEncoders describe(Path modelFolder, ScalarType dtype) {
    ClipTextEncoder clip = ClipTextEncoder.describe(modelFolder.resolve(CLIP), dtype);
    return new FluxTextEncoders(clip, T5Encoder.describe(modelFolder.resolve(T5), dtype));
  }

  /** The length of a pooled vector. */
  int pooledWidth() {
    return clip.width();
  }

  /** The length of a text token's vector. */
  int textWidth() {
    return t5.width();
  }

  @Override
  public void close() {
    clip.close();
    t5.close();
  }
}
