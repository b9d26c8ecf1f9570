package org.glance4j.benchmarks.kernel;

import java.util.EnumMap;
import java.util.Map;
import java.util.Set;
import org.glance4j.DType;

/**
 * One operation at one shape and type: contenders over the same inputs, whose results were compared
 * when it was opened. Every contender makes its own outputs, as a model does in use.
 *
 * <p>For one thread, and to be closed.
 */
public final class KernelCase implements AutoCloseable {
  /** Which of the two kinds of model a shape is from. */
  public enum Family {
    /** FLUX.1-dev and Qwen-Image. */
    LARGE,
    /** The bundled model. */
    BUNDLED
  }

  /**
   * What is measured.
   *
   * @param operation as the C ABI calls it
   * @param shape for a reader
   * @param rank of the adapter; 0 where there is none
   */
  public record Name(String operation, Family family, String shape, DType dtype, int rank) {
    @Override
    public String toString() {
      return operation + " " + shape + " " + dtype + (rank == 0 ? "" : " r=" + rank);
    }
  }

  /** One call. */
  interface Call {
    /** Runs it on the inputs whose turn it is. */
    void run(int turn);
  }

  private final Name name;
  private final Cost cost;
  private final Inputs inputs;
  private final Map<Contender, Call> calls = new EnumMap<>(Contender.class);

  KernelCase(Name name, Cost cost, Inputs inputs) {
    this.name = name;
    this.cost = cost;
    this.inputs = inputs;
  }

  KernelCase with(Contender contender, Call call) {
    calls.put(contender, call);
    return this;
  }

  public Name name() {
    return name;
  }

  public Cost cost() {
    return cost;
  }

  /** Who is in it. */
  public Set<Contender> contenders() {
    return calls.keySet();
  }

  /**
   * Runs one call.
   *
   * @param turn any number from 0; the next one takes the next of several sets of inputs
   * @throws IllegalArgumentException if the contender is not in this case
   */
  public void run(Contender contender, int turn) {
    Call call = calls.get(contender);
    if (call == null) {
      throw new IllegalArgumentException(name + " has no contender " + contender);
    }
    call.run(turn);
  }

  @Override
  public void close() {
    inputs.close();
  }
}
