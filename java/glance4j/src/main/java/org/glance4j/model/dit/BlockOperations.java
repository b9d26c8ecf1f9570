package org.glance4j.model.dit;

import org.glance4j.kernel.Backend;
import org.glance4j.kernel.ModulatedNorm;
import org.glance4j.model.Linears;

/** What a block does beside its linears, in the form that a pass wants. */
public final class BlockOperations {
  /** The operations of one backend. */
  public record On(ModulatedNorm norm, JointAttention attention) {}

  private final On recorded;
  private final On kernels;

  private BlockOperations(On recorded, On kernels) {
    this.recorded = recorded;
    this.kernels = kernels;
  }

  /** For blocks with these linears. */
  public static BlockOperations of(Linears linears, Heads heads) {
    On kernels = on(linears.backend(), heads);
    return new BlockOperations(
        linears.recordsByItself() ? on(Backend.TORCH, heads) : kernels, kernels);
  }

  private static On on(Backend backend, Heads heads) {
    return new On(ModulatedNorm.on(backend), JointAttention.on(backend, heads));
  }

  /** For a pass whose gradients LibTorch may record. */
  public On in(Pass pass) {
    return pass.plain() ? kernels : recorded;
  }

  /** Those of the model's backend, whose gradients LibTorch does not record. */
  public On kernels() {
    return kernels;
  }
}
