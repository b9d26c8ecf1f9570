package org.glance4j.model.dit;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;

/**
 * Rotary position embedding (RoFormer, arXiv 2104.09864) on several axes: each pair of adjacent
 * channels of a head is a complex number, turned by the token's position on the pair's axis times
 * the pair's frequency. Pair j of an axis with d channels has frequency {@code 10000^(-2j/d)}.
 *
 * <p>Immutable but for {@link #close()}.
 */
public final class Rope implements AutoCloseable {
  private static final double THETA = 10_000;

  /**
   * cos + i sin, complex64 [tokens, 1, 1, headDim / 2]: the same for q and k, and for each head.
   */
  private final Tensor rotation;

  /** The same memory as cos and sin in turn, f32 [tokens, headDim / 2, 2]. */
  private final Tensor angles;

  private Rope(Tensor rotation) {
    this.rotation = rotation;
    this.angles = torch.view_as_real(rotation.flatten(1, 3));
  }

  /**
   * The rotations of tokens at {@code positions}, which belong to the caller's scope.
   *
   * @param positions shape [tokens, axes]
   * @param axesDims how many channels rotate with each axis
   * @param precision what the model was trained to compute angles in: f64, or f32, in which those
   *     of far positions are off by 2e-4
   */
  public static Rope of(Tensor positions, List<Integer> axesDims, ScalarType precision) {
    Tensor exact = positions.to(precision);
    Tensor[] angles = new Tensor[axesDims.size()];
    for (int axis = 0; axis < angles.length; axis++) {
      angles[axis] = torch.outer(exact.select(1, axis), frequencies(axesDims.get(axis), precision));
    }
    Tensor angle = torch.cat(new TensorVector(angles), 1).unsqueeze(1).unsqueeze(1);
    Tensor cos = angle.cos().to(ScalarType.Float);
    Tensor sin = angle.sin().to(ScalarType.Float);
    return new Rope(torch.view_as_complex(torch.stack(new TensorVector(cos, sin), -1)));
  }

  private static Tensor frequencies(int channels, ScalarType precision) {
    Tensor pair =
        torch.arange(
            new Scalar(0), new Scalar(channels), new Scalar(2), new TensorOptions(precision));
    return torch.pow(new Scalar(THETA), pair.div(new Scalar((double) channels))).reciprocal();
  }

  /**
   * Rotates queries and keys.
   *
   * @param heads f32, shape [batch, tokens, 2, heads, headDim]; contiguous
   * @return the same shape
   */
  Tensor rotate(Tensor heads) {
    Tensor pairs = torch.view_as_complex(heads.unflatten(-1, -1, 2));
    return torch.view_as_real(pairs.mul(rotation)).flatten(-2, -1);
  }

  /** The opposite of {@link #rotate}, which is also the way of a gradient back through it. */
  Tensor rotateBack(Tensor heads) {
    Tensor pairs = torch.view_as_complex(heads.unflatten(-1, -1, 2));
    return torch.view_as_real(pairs.mul(rotation.conj())).flatten(-2, -1);
  }

  /** How many tokens there are angles for. */
  long tokens() {
    return rotation.size(0);
  }

  /** cos + i sin of every token and pair of channels, complex64 [tokens, headDim / 2]. */
  public Tensor rotation() {
    return rotation.flatten(1, 3);
  }

  /** cos and sin in turn of every token and pair of channels, f32 [tokens, headDim / 2, 2]. */
  Tensor angles() {
    return angles;
  }

  /** The table where {@code backend} computes; belongs to the caller's scope. */
  public Rope on(Backend backend) {
    return new Rope(backend.place(rotation));
  }

  /** Makes the table outlive the caller's scope, until {@link #close()}. */
  Rope retain() {
    rotation.retainReference();
    angles.retainReference();
    return this;
  }

  /** Frees the table. Idempotent. */
  @Override
  public void close() {
    angles.close();
    rotation.close();
  }
}
