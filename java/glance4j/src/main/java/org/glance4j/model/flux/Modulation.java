package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;

/**
 * Everything a forward pass needs of (timestep, guidance, pooled text): the shifts, scales and
 * gates of all adaptive layer norms, one row for each such triple. They do not depend on the
 * latents, so the rows of a whole schedule are computed in one pass before its first step.
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

  /** How many rows there are. */
  public long rows() {
    return values.size(0);
  }

  Reader reader() {
    return new Reader(values);
  }

  /** Hands out the vectors in order, each with shape [rows, 1, width]. */
  static final class Reader {
    private final Tensor values;
    private long next;

    private Reader(Tensor values) {
      this.values = values;
    }

    Tensor next() {
      return values.narrow(1, next++, 1);
    }

    AdaLn nextAdaLn() {
      return new AdaLn(next(), next(), next());
    }
  }
}
