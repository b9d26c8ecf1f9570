package org.glance4j.evaluate;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.glance4j.ModelFormatException;
import org.glance4j.PngFile;

/**
 * Pictures with names, among which a generated picture should be nearest to the one of its prompt.
 * Immutable.
 *
 * <p>Near is meant in mean squared error of the RGB values, all pictures box-filtered to 32 x 32
 * pixels; a picture's mirror image counts as the picture. Pictures with transparency are put on
 * white.
 */
public final class PictureSet {
  private static final String EXTENSION = ".png";
  private static final int SIDE = 32;
  private static final int CHANNELS = 3;
  private static final int WHITE = 255;

  private final Path folder;
  private final Map<String, float[]> pictures;

  /**
   * @param pictures small ones by name, in the order of the names
   */
  private PictureSet(Path folder, Map<String, float[]> pictures) {
    this.folder = folder;
    this.pictures = pictures;
  }

  /**
   * Reads all files {@code NAME.png} of a folder. In a file's name, bytes of the picture's name may
   * be written {@code %XX} as in a URL: {@code beard%3A person.png}.
   *
   * @throws ModelFormatException if there is none, or one is not a picture
   * @throws IOException if the folder cannot be read
   */
  public static PictureSet read(Path folder) throws IOException {
    Map<String, float[]> pictures = new TreeMap<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        String name = String.valueOf(file.getFileName());
        if (name.endsWith(EXTENSION)) {
          String stem = name.substring(0, name.length() - EXTENSION.length());
          pictures.put(decoded(file, stem), small(PngFile.readImage(file)));
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      throw new ModelFormatException(folder + ": is not a folder of pictures", e);
    }
    if (pictures.isEmpty()) {
      throw new ModelFormatException(folder + ": has no file NAME.png");
    }
    return new PictureSet(folder, pictures);
  }

  private static String decoded(Path file, String stem) {
    try {
      // A plus sign is one: only in forms does it stand for a space.
      return URLDecoder.decode(stem.replace("+", "%2B"), StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      throw new ModelFormatException(
          file + ": a % in the name must begin a byte as in %3A; write %25 for the sign itself", e);
    }
  }

  /** How many pictures there are. */
  public int size() {
    return pictures.size();
  }

  /** True if there is a picture of this name. */
  public boolean has(String name) {
    return pictures.containsKey(name);
  }

  /**
   * Fails if no prompt names a picture, since then nothing could be retrieved.
   *
   * @throws IllegalArgumentException naming the first prompt
   */
  void requireAny(List<String> prompts) {
    if (prompts.stream().noneMatch(this::has)) {
      throw new IllegalArgumentException(
          "none of the %d pictures in %s has a prompt's name, such as \"%s\"; leave retrieval out, or name them so"
              .formatted(size(), folder, prompts.get(0)));
    }
  }

  /** The name of the picture nearest to {@code image}; of two equally near ones, the first. */
  public String nearest(BufferedImage image) {
    float[] pixels = small(image);
    float[] mirrored = mirrored(pixels);
    String nearest = "";
    double least = Double.POSITIVE_INFINITY;
    for (Map.Entry<String, float[]> picture : pictures.entrySet()) {
      double error =
          Math.min(error(picture.getValue(), pixels), error(picture.getValue(), mirrored));
      if (error < least) {
        least = error;
        nearest = picture.getKey();
      }
    }
    return nearest;
  }

  private static double error(float[] a, float[] b) {
    double squares = 0;
    for (int i = 0; i < a.length; i++) {
      double difference = a[i] - b[i];
      squares += difference * difference;
    }
    return squares;
  }

  private static float[] mirrored(float[] pixels) {
    float[] mirrored = new float[pixels.length];
    for (int i = 0; i < pixels.length; i++) {
      int pixel = i / CHANNELS;
      int from = pixel - pixel % SIDE + SIDE - 1 - pixel % SIDE;
      mirrored[i] = pixels[CHANNELS * from + i % CHANNELS];
    }
    return mirrored;
  }

  /** Means over boxes of source pixels: row-major, three values a pixel. */
  private static float[] small(BufferedImage image) {
    float[] pixels = new float[SIDE * SIDE * CHANNELS];
    for (int y = 0; y < SIDE; y++) {
      for (int x = 0; x < SIDE; x++) {
        box(image, x, y, pixels, CHANNELS * (SIDE * y + x));
      }
    }
    return pixels;
  }

  private static void box(BufferedImage image, int x, int y, float[] pixels, int at) {
    int left = x * image.getWidth() / SIDE;
    int top = y * image.getHeight() / SIDE;
    int right = Math.max(left + 1, (x + 1) * image.getWidth() / SIDE);
    int bottom = Math.max(top + 1, (y + 1) * image.getHeight() / SIDE);
    int count = (right - left) * (bottom - top);
    for (int row = top; row < bottom; row++) {
      for (int column = left; column < right; column++) {
        int argb = image.getRGB(column, row);
        int alpha = argb >>> 24;
        for (int channel = 0; channel < CHANNELS; channel++) {
          int value = (argb >> (16 - 8 * channel)) & 0xff;
          float shown = WHITE + (value - WHITE) * alpha / (float) WHITE;
          pixels[at + channel] += shown / count;
        }
      }
    }
  }
}
