package org.glance4j.model;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Cfg;
import org.glance4j.lora.LinearShape;
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

  /**
   * How this family of models combines the velocities of the prompt and of the negative prompt.
   *
   * @param scale 1 or less for no CFG: {@link Cfg#NONE}
   */
  Cfg cfg(double scale);

  /** The negative prompt of a generation with CFG where the caller gives none. */
  String emptyPrompt();

  /** How many tokens a picture's packed latents have. */
  int imageTokens(ImageSize size);

  /** How many channels a token of the packed latents has. */
  int latentChannels();

  /** The linears of the transformer that an adapter may change, by name. */
  Map<String, LinearShape> linears();

  /** The most values that one of them reads or makes of a token. */
  long widestLinear();

  /**
   * The names of those linears that the published recipe (arXiv 2512.02899) adapts in this family
   * of models, in the order of {@link #linears()}.
   */
  List<String> glanceTargets();

  /**
   * The names of those linears that make the adaptive layer norms' shifts, scales and gates of
   * timestep and prompt: a correction that depends on both, but on no one picture.
   */
  List<String> modulationTargets();

  /** Loads an adapter made for this model's transformer. */
  LoraAdapter loadAdapter(Path file, ScalarType dtype);

  /**
   * Frees what was made of adapters for the kernels. What an adapter that is used again needs is
   * made again; no denoiser may be in use.
   */
  void releaseAdapters();

  /**
   * Encodes a prompt to {@code textTokens} tokens. If text encoders and transformer take turns in
   * memory this waits until no denoiser is open.
   *
   * @throws IllegalStateException if it waited for a denoiser of its own thread
   */
  Conditioning encode(String prompt, int textTokens);

  /** The initial latents where the model computes: packed noise, f32 [1, tokens, channels]. */
  Tensor noise(long seed, ImageSize size);

  /**
   * Makes the transformer ready for one generation. Close it, and do not use it after this model is
   * closed.
   */
  Denoiser denoiser(DenoiseTask task);

  /**
   * Encodes a picture with the VAE.
   *
   * @param picture pixels on the CPU, u8 [height, width, 3]; both sides multiples of {@link
   *     #sizeMultiple()}
   * @throws IllegalArgumentException if it is no such picture
   */
  PictureLatents encode(Tensor picture);

  /** Decodes packed latents [1, tokens, channels] to pixels: [height, width, 3], row by row. */
  byte[] decode(Tensor latents, ImageSize size);

  /**
   * About how many bytes one generation needs beside the weights.
   *
   * @param batch 2 with CFG, otherwise 1
   * @param steps how many steps the schedule has
   */
  long workspaceBytes(ImageSize size, int batch, int steps);

  /**
   * How many bytes more than now the weights take when the largest part is loaded: 0 if all parts
   * stay in memory.
   */
  long pendingBytes();

  @Override
  void close();
}
