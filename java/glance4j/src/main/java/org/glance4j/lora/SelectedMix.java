package org.glance4j.lora;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * One of several mixes, which memory on the device names when the work runs: what is recorded once
 * then serves every phase. Immutable; the selection's values are not part of it.
 *
 * @param mixes at least one
 * @param selection int32, one entry for each mix: the index of the mix to apply, or -1 for none, in
 *     every entry
 */
public record SelectedMix(List<AdapterMix> mixes, Tensor selection) implements AdapterChoice {
  /** Checks the sizes and copies the list. */
  public SelectedMix {
    mixes = List.copyOf(mixes);
    if (mixes.isEmpty() || selection.numel() != mixes.size()) {
      throw new IllegalArgumentException(
          "selection has %d entries for %d mixes; it must have one for each, and at least one"
              .formatted(selection.numel(), mixes.size()));
    }
  }
}
