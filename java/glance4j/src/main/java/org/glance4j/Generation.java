package org.glance4j;

import java.util.List;

/**
 * The result of one request. Plain Java memory: it outlives its {@link Glance}.
 *
 * @param images in order of their seeds
 * @param stats how long it took
 */
public record Generation(List<GeneratedImage> images, GenerationStats stats) {
  /** Copies the list. */
  public Generation {
    images = List.copyOf(images);
  }

  /** The first image, which is the only one unless the request asked for more. */
  public GeneratedImage image() {
    return images.get(0);
  }
}
