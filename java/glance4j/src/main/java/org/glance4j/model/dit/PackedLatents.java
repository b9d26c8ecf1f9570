package org.glance4j.model.dit;

import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The latents of one image: their size, the noise they begin as, and their two layouts. The VAE
 * reads [batch, channels, height, width]; the transformer reads them packed, one token for each 2 x
 * 2 patch: [batch, height/2 * width/2, channels * 4].
 *
 * @param channels of the VAE's latent space
 * @param height in latent pixels; even
 * @param width in latent pixels; even
 */
public record PackedLatents(int channels, int height, int width) {
  /** Checks the sizes. */
  public PackedLatents {
    if (channels < 1 || height < 2 || width < 2 || height % 2 != 0 || width % 2 != 0) {
      throw new IllegalArgumentException(
          "latents of %d x %d x %d: height and width must be even and at least 2"
              .formatted(channels, height, width));
    }
  }

  /**
   * The latents of an image, as diffusers sizes them: what does not fill a patch is cut off.
   *
   * @param channels of the VAE's latent space
   * @param vaeScale image pixels per latent pixel, in each direction
   * @param imageHeight in pixels
   * @param imageWidth in pixels
   */
  public static PackedLatents forImage(
      int channels, int vaeScale, int imageHeight, int imageWidth) {
    int pixelsPerToken = 2 * vaeScale;
    if (imageHeight < pixelsPerToken || imageWidth < pixelsPerToken) {
      throw new IllegalArgumentException(
          "an image of %d x %d is too small; this model needs at least %d x %d"
              .formatted(imageWidth, imageHeight, pixelsPerToken, pixelsPerToken));
    }
    return new PackedLatents(
        channels, 2 * (imageHeight / pixelsPerToken), 2 * (imageWidth / pixelsPerToken));
  }

  /** Rows of tokens. */
  public int rows() {
    return height / 2;
  }

  /** Tokens in a row. */
  public int columns() {
    return width / 2;
  }

  /** Tokens of one image. */
  public int tokens() {
    return rows() * columns();
  }

  /**
   * Standard normal noise, the same as {@code torch.randn(count, channels, height, width,
   * generator=torch.Generator("cpu").manual_seed(seed))}, bit for bit. Touches no global state.
   *
   * @return f32, shape [count, channels, height, width]
   */
  public Tensor noise(long seed, int count) {
    Generator generator = torch.make_generator_cpu(seed);
    return torch.randn(
        new long[] {count, channels, height, width},
        new GeneratorOptional(generator),
        new TensorOptions(ScalarType.Float));
  }

  /**
   * Packs each 2 x 2 patch into a token.
   *
   * @param latents shape [batch, channels, height, width]
   * @return shape [batch, tokens, channels * 4]
   */
  public Tensor pack(Tensor latents) {
    long batch = latents.size(0);
    return latents
        .reshape(batch, channels, rows(), 2, columns(), 2)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(batch, tokens(), channels * 4L);
  }

  /**
   * Undoes {@link #pack}.
   *
   * @param packed shape [batch, tokens, channels * 4]
   * @return shape [batch, channels, height, width], channels-last, as a VAE computes
   */
  public Tensor unpack(Tensor packed) {
    long batch = packed.size(0);
    return packed
        .reshape(batch, rows(), columns(), channels, 2, 2)
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(batch, height, width, channels)
        .permute(0, 3, 1, 2);
  }

  /**
   * The position of each token: (0, row, column).
   *
   * @param firstRow the number of the topmost row
   * @param firstColumn the number of the leftmost column
   * @return f32, shape [tokens, 3]
   */
  public Tensor positions(int firstRow, int firstColumn) {
    Tensor row = axis(firstRow, rows()).view(rows(), 1).expand(rows(), columns());
    Tensor column = axis(firstColumn, columns()).view(1, columns()).expand(rows(), columns());
    return torch.stack(new TensorVector(torch.zeros_like(row), row, column), 2).view(tokens(), 3);
  }

  private static Tensor axis(int first, int length) {
    return torch.arange(
        new Scalar(first), new Scalar(first + length), new TensorOptions(ScalarType.Float));
  }
}
