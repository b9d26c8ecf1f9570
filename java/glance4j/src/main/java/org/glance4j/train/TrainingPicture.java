package org.glance4j.train;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.Image;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.PngFile;
import org.glance4j.model.ImageSize;

/** The picture of a sample, at the size it is learnt at. */
final class TrainingPicture {
  /** The recipe floors both sides to multiples of this many pixels. */
  private static final int MULTIPLE = 32;

  /** A picture may be enlarged this many times; beyond that it has nothing to teach. */
  private static final int MAX_ENLARGEMENT = 4;

  private TrainingPicture() {}

  /**
   * Reads a picture and scales its longer side to the model's, both sides floored to multiples of
   * 32. What is transparent becomes white.
   *
   * @param model the size of picture the model was made for
   * @throws org.glance4j.ModelFormatException if the file is not a picture
   * @throws IllegalArgumentException if the picture is too small or too narrow
   */
  static BufferedImage read(Path file, ImageSize model) throws IOException {
    BufferedImage picture = PngFile.readImage(file);
    int longest = Math.max(model.width(), model.height());
    double factor = (double) longest / Math.max(picture.getWidth(), picture.getHeight());
    if (factor > MAX_ENLARGEMENT) {
      throw new IllegalArgumentException(
          "%s has %d x %d pixels, too few for a model of %d; its longer side needs at least %d"
              .formatted(
                  file,
                  picture.getWidth(),
                  picture.getHeight(),
                  longest,
                  (longest + MAX_ENLARGEMENT - 1) / MAX_ENLARGEMENT));
    }
    int width = floored(picture.getWidth(), factor);
    int height = floored(picture.getHeight(), factor);
    if (width == 0 || height == 0) {
      throw new IllegalArgumentException(
          "%s has %d x %d pixels, too narrow: at the model's size its shorter side is below %d"
              .formatted(file, picture.getWidth(), picture.getHeight(), MULTIPLE));
    }
    return scaled(picture, width, height);
  }

  private static int floored(int pixels, double factor) {
    int scaled = (int) Math.floor(pixels * factor + 1e-9);
    return scaled / MULTIPLE * MULTIPLE;
  }

  private static BufferedImage scaled(BufferedImage picture, int width, int height) {
    BufferedImage result = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = result.createGraphics();
    // Area averaging: every pixel counts when a photograph shrinks to a small model's size.
    Image source =
        picture.getWidth() == width && picture.getHeight() == height
            ? picture
            : picture.getScaledInstance(width, height, Image.SCALE_AREA_AVERAGING);
    graphics.drawImage(source, 0, 0, Color.WHITE, null);
    graphics.dispose();
    return result;
  }

  /** The pixels, u8 [height, width, 3]; belongs to the caller's scope. */
  static Tensor pixels(BufferedImage picture) {
    int width = picture.getWidth();
    int height = picture.getHeight();
    int[] rgb = picture.getRGB(0, 0, width, height, null, 0, width);
    byte[] bytes = new byte[3 * rgb.length];
    for (int i = 0; i < rgb.length; i++) {
      bytes[3 * i] = (byte) (rgb[i] >> 16);
      bytes[3 * i + 1] = (byte) (rgb[i] >> 8);
      bytes[3 * i + 2] = (byte) rgb[i];
    }
    Tensor tensor =
        torch.empty(new long[] {height, width, 3}, new TensorOptions(ScalarType.Byte), null);
    new BytePointer(tensor.data_ptr()).put(bytes);
    return tensor;
  }
}
