package org.glance4j.weights;

/**
 * The class that wrote a component, as {@code model_index.json} names it.
 *
 * @param library {@code diffusers} or {@code transformers}
 * @param name the class, for example {@code FluxTransformer2DModel}
 */
public record ComponentClass(String library, String name) {
  /** As in the file: {@code ["diffusers", "AutoencoderKL"]}. */
  @Override
  public String toString() {
    return "[\"" + library + "\", \"" + name + "\"]";
  }
}
