package org.glance4j.model;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;

/**
 * Sees the named intermediate values of a forward pass: how tests compare every layer with the
 * reference implementation's. The names are the reference's own.
 */
@FunctionalInterface
public interface Probe {
  /** Sees nothing, at no cost. */
  Probe NONE = (module, output, value) -> {};

  /**
   * Called when a value has been computed.
   *
   * @param module the module's name, for example {@code transformer_blocks.0}
   * @param output the name of the value in it, for example {@code attn.to_q}
   * @param value gives the tensor, which is valid only during this call
   */
  void see(String module, String output, Supplier<Tensor> value);
}
