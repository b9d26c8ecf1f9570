package org.glance4j;

import java.util.concurrent.CompletableFuture;

/** A generation under way; {@link #cancel} stops it before its next step. */
final class GenerationFuture extends CompletableFuture<Generation> {
  private volatile boolean stopRequested;

  boolean stopRequested() {
    return stopRequested;
  }

  /** Cancels the future at once and the work behind it at its next step. */
  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    stopRequested = true;
    return super.cancel(mayInterruptIfRunning);
  }
}
