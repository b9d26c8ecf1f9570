package org.glance4j.model.dit;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Everything a forward pass needs of the conditioning vector, which stands for the timestep and
 * what else its model has: the shifts, scales and gates of all adaptive layer norms, one row for
 * each such vector. They do not depend on the latents, so the rows of a whole schedule are computed
 * in one pass before its first step.
 *
 * <p>Belongs to the scope it was made in. Thread-safe.
 */
public final class Modulation {
  /** Shape [rows, vectors, width]; the vectors in the order in which the blocks read them. */
  private final Tensor values;

  Modulation(Tensor values) {
    this.values = values;
  }

  /** {@code count} rows from {@code first} on: those of one step's batch. */
  public Modulation rows(long first, long count) {
    return new Modulation(values.narrow(0, first, count));
  }

  /** The rows of all of {@code parts}, in order. */
  static Modulation joined(List<Modulation> parts) {
    Tensor[] values = parts.stream().map(part -> part.values).toArray(Tensor[]::new);
    return new Modulation(torch.cat(new TensorVector(values), 0));
  }

  /** The rows whose numbers {@code index} holds when the work runs; int32 [rows]. */
  Modulation at(Tensor index) {
    return new Modulation(values.index_select(0, index));
  }

  /** How many rows there are. */
  public long rows() {
    return values.size(0);
  }

  /** The vectors themselves, shape [rows, vectors, width]. */
  Tensor values() {
    return values;
  }

  /** Reads the vectors from the first on. */
  public Reader reader() {
    return new Reader(values);
  }

  /** Hands out the vectors in order, each with shape [rows, 1, width]. */
  public static final class Reader {
    private final Tensor values;

    /** All vectors if gradients reach them: split at once, they go back as one. */
    private @Nullable TensorVector split;

    private long next;

    private Reader(Tensor values) {
      this.values = values;
    }

    /** All vectors, whatever has been read. */
    Tensor values() {
      return values;
    }

    /** How many have been read. */
    long read() {
      return next;
    }

    /** Leaves out the next {@code count}. */
    void skip(long count) {
      next += count;
    }

    Tensor next() {
      long index = next++;
      if (split == null && values.requires_grad()) {
        split = values.split(1, 1);
      }
      return split == null ? values.narrow(1, index, 1) : split.get(index);
    }

    /** The next {@code count} vectors, shape [rows, count, width]. */
    public Modulation next(int count) {
      long first = next;
      next += count;
      return new Modulation(values.narrow(1, first, count));
    }

    /** The next three: shift, scale, gate. */
    public AdaLn nextAdaLn() {
      return new AdaLn(next(), next(), next());
    }
  }
}
