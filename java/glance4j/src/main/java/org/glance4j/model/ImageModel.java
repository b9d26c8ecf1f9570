package org.glance4j.model;

import java.nio.file.Path;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.schedule.SigmaShift;

/**
 * A text-to-image model: encoders, transformer and VAE, loaded from one folder. Thread-safe but for
 * {@link #close()}; every method runs on the caller's thread with gradients off, and its tensors
 * belong to the caller's {@link org.bytedeco.javacpp.PointerScope}.
 */
public interface ImageModel extends AutoCloseable {
  /** The size of picture the model was made for. */
  ImageSize defaultSize();

  /** Width and height must be multiples of this many pixels. */
  int sizeMultiple();

  /** How many text tokens a prompt has unless the caller says otherwise. */
  int defaultTextTokens();

  /** How many text tokens a prompt may have at most. */
  int maxTextTokens();

  /** How its schedules shift sigmas. */
  SigmaShift sigmaShift();

  /** How many tokens a picture's packed latents have. */
  int imageTokens(ImageSize size);

  /** How many channels a token of the packed latents has. */
  int latentChannels();

  /** Loads an adapter made for this model's transformer. */
  LoraAdapter loadAdapter(Path file, ScalarType dtype);

  /** Encodes a prompt to {@code textTokens} tokens. */
  Conditioning encode(String prompt, int textTokens);

  /** The initial latents where the model computes: packed noise, f32 [1, tokens, channels]. */
  Tensor noise(long seed, ImageSize size);

  /** Makes the transformer ready for one generation. */
  Denoiser denoiser(DenoiseTask task);

  /** Decodes packed latents [1, tokens, channels] to pixels on the CPU, u8 [height, width, 3]. */
  Tensor decode(Tensor latents, ImageSize size);

  /**
   * About how many bytes one generation needs beside the weights.
   *
   * @param batch 2 with CFG, otherwise 1
   * @param steps how many steps the schedule has
   */
  long workspaceBytes(ImageSize size, int batch, int steps);

  @Override
  void close();
}
