package org.glance4j;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** One picture and how it came about. Immutable, plain Java memory. */
public final class GeneratedImage {
  private static final int CHANNELS = 3;

  private final int width;
  private final int height;
  private final byte[] rgb;
  private final Latents latents;
  private final Recipe recipe;

  GeneratedImage(int width, int height, byte[] rgb, Latents latents, Recipe recipe) {
    this.width = width;
    this.height = height;
    this.rgb = rgb;
    this.latents = latents;
    this.recipe = recipe;
  }

  /** In pixels. */
  public int width() {
    return width;
  }

  /** In pixels. */
  public int height() {
    return height;
  }

  /** A copy of the pixels: row-major, 3 bytes (red, green, blue) each. */
  public byte[] rgb() {
    return rgb.clone();
  }

  /** The packed latents the picture was decoded from. */
  public Latents latents() {
    return latents;
  }

  /** What makes this picture again. */
  public Recipe recipe() {
    return recipe;
  }

  /** A new image of type {@link BufferedImage#TYPE_INT_RGB}. */
  public BufferedImage toBufferedImage() {
    return bufferedImage(width, height, rgb);
  }

  /** A PNG file's bytes, with the recipe in its text chunks. */
  public byte[] toPng() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      PngFile.write(out, toBufferedImage(), texts());
    } catch (IOException e) {
      throw new UncheckedIOException("writing to memory", e);
    }
    return out.toByteArray();
  }

  /** Writes {@link #toPng()} to {@code file}; the file is whole or, after an error, not there. */
  public void writePng(Path file) throws IOException {
    byte[] png = toPng();
    AtomicFile.write(file, out -> out.write(png));
  }

  static BufferedImage bufferedImage(int width, int height, byte[] rgb) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    int[] pixels = new int[width * height];
    for (int i = 0; i < pixels.length; i++) {
      int at = CHANNELS * i;
      pixels[i] = ((rgb[at] & 0xff) << 16) | ((rgb[at + 1] & 0xff) << 8) | (rgb[at + 2] & 0xff);
    }
    image.setRGB(0, 0, width, height, pixels, 0, width);
    return image;
  }

  private Map<String, String> texts() {
    Map<String, String> texts = new LinkedHashMap<>();
    texts.put("Software", "glance4j");
    texts.put("Description", recipe.request().prompt());
    texts.put(Recipe.KEYWORD, recipe.toJson());
    return texts;
  }
}
