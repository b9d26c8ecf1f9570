package org.glance4j.model;

import java.util.ArrayList;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.jspecify.annotations.Nullable;

/**
 * Where one backward pass adds the gradients of A and B, in f32: straight to {@code grad()} of
 * those that are f32 leaves, as LibTorch does; for others, such as copies in 16 bits, to sums that
 * LibTorch is then told of, by {@link CustomGradient}.
 *
 * <p>Matrices must not change between the forward pass, where this is made, and the backward pass.
 * For one thread at a time.
 */
public final class AdapterGradients {
  private final List<Tensor> linked = new ArrayList<>();
  private final IdentityHashMap<Tensor, Long> versions = new IdentityHashMap<>();
  private final IdentityHashMap<Tensor, Tensor> sums = new IdentityHashMap<>();
  private boolean trained;

  private AdapterGradients() {}

  /** Of all matrices that {@code mix} has for {@code linears}. */
  public static AdapterGradients of(AdapterMix mix, Collection<String> linears) {
    AdapterGradients gradients = new AdapterGradients();
    for (AdapterMix.Part part : mix.parts()) {
      for (String linear : linears) {
        LoraPair pair = part.adapter().pair(linear);
        if (pair != null) {
          gradients.add(pair.down());
          gradients.add(pair.up());
        }
      }
    }
    return gradients;
  }

  private void add(Tensor matrix) {
    if (versions.put(matrix, matrix._version()) != null) {
      return;
    }
    if (matrix.requires_grad()) {
      trained = true;
      if (!addsUpItself(matrix)) {
        linked.add(matrix);
      }
    }
  }

  private static boolean addsUpItself(Tensor matrix) {
    return matrix.is_leaf() && matrix.scalar_type().intern() == ScalarType.Float;
  }

  /** True if any of the matrices is trained. */
  public boolean isTrained() {
    return trained;
  }

  /** The matrices whose gradients LibTorch is to be told. */
  public List<Tensor> linked() {
    return linked;
  }

  /** The gradients of {@link #linked()} so far, in the same order; null for zeros. */
  public List<@Nullable Tensor> linkedGradients() {
    List<@Nullable Tensor> gradients = new ArrayList<>();
    linked.forEach(matrix -> gradients.add(sums.get(matrix)));
    return gradients;
  }

  /**
   * What the gradient of {@code matrix} is added to: f32, its shape. Null if it is not trained.
   *
   * @throws IllegalStateException if the matrix has changed since the forward pass
   */
  @Nullable Tensor sum(Tensor matrix) {
    Long version = versions.get(matrix);
    if (version == null || version != matrix._version()) {
      throw new IllegalStateException(
          "an adapter's matrix was changed between the forward pass and the backward pass; take the"
              + " gradients before the optimiser's step");
    }
    return matrix.requires_grad() ? sums.computeIfAbsent(matrix, AdapterGradients::newSum) : null;
  }

  private static Tensor newSum(Tensor matrix) {
    if (addsUpItself(matrix) && matrix.grad().defined()) {
      return matrix.grad();
    }
    Tensor sum = matrix.new_zeros(matrix.sizes()).to(ScalarType.Float);
    if (addsUpItself(matrix)) {
      matrix.mutable_grad().put(sum);
    }
    // A block that is computed again has a scope of its own, which ends before the pass does.
    CustomGradient.callersScope().attach(sum);
    return sum;
  }
}
