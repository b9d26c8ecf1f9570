package org.glance4j.model.text;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.weights.Weights;
import org.jspecify.annotations.Nullable;

/**
 * What T5 adds to the attention scores instead of embedding positions: a learned value for each
 * head and each bucket of distances between query and key (Raffel et al. 2020, "Exploring the
 * Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.1).
 *
 * <p>Half of the buckets are for keys behind the query, half for keys before it; of each half, half
 * are for single distances, the rest grow logarithmically up to the largest distance.
 *
 * <p>Depends on the number of tokens only, so the last bias is kept: at T5-XXL's size one for 512
 * tokens has 64 MiB. Thread-safe.
 */
final class RelativePositionBias implements AutoCloseable {
  private final Tensor table;
  private final int buckets;
  private final int maxDistance;
  private @Nullable Tensor last;

  /** Takes the table, [buckets, heads], that the first block holds for all. */
  RelativePositionBias(Weights weights, String name, T5Config config) {
    Tensor tensor = weights.take(name + ".weight", config.buckets(), config.heads());
    this.table = weights.keep(tensor.to(ScalarType.Float));
    this.buckets = config.buckets();
    this.maxDistance = config.maxDistance();
  }

  /** The bias for {@code tokens} tokens: float32 [1, heads, tokens, tokens], the caller's. */
  synchronized Tensor of(long tokens) {
    if (last == null || last.size(3) != tokens) {
      close();
      try (PointerScope temporaries = new PointerScope()) {
        last = compute(tokens).retainReference();
      }
    }
    // Shares the values: they live on if another thread replaces the kept bias meanwhile.
    return last.alias();
  }

  private Tensor compute(long tokens) {
    Tensor position = torch.arange(new Scalar(tokens), new TensorOptions(ScalarType.Long));
    Tensor distance = position.unsqueeze(0).sub(position.unsqueeze(1));
    // On the CPU: another device's logarithm might put a distance into the bucket next to it.
    Tensor buckets = bucket(distance).to(table.device(), ScalarType.Long);
    Tensor values = torch.embedding(table, buckets);
    return values.permute(2, 0, 1).unsqueeze(0).contiguous();
  }

  /** The bucket of each distance from query to key; in float32, as the models were trained. */
  private Tensor bucket(Tensor distance) {
    int half = buckets / 2;
    int exact = half / 2;
    Tensor absolute = distance.abs();
    Tensor logarithmic =
        absolute
            .to(ScalarType.Float)
            .div(new Scalar(exact))
            .log()
            .div(new Scalar(Math.log((double) maxDistance / exact)))
            .mul(new Scalar(half - exact))
            .to(ScalarType.Long)
            .add(new Scalar(exact))
            .clamp_max(new Scalar(half - 1));
    Tensor oneSided = torch.where(absolute.lt(new Scalar(exact)), absolute, logarithmic);
    Tensor behind = distance.gt(new Scalar(0)).to(ScalarType.Long);
    return oneSided.add(behind.mul(new Scalar(half)));
  }

  /** Frees the kept bias. */
  @Override
  public synchronized void close() {
    if (last != null) {
      last.close();
      last = null;
    }
  }
}
