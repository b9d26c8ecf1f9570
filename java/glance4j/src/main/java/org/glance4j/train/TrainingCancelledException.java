package org.glance4j.train;

/** A training was cancelled; what it has learnt so far is saved, and the same call goes on. */
public final class TrainingCancelledException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** Says what is saved where. */
  public TrainingCancelledException(String message) {
    super(message);
  }
}
