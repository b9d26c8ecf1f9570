package org.glance4j.cli;

import java.util.concurrent.TimeUnit;
import org.glance4j.Glance;

/**
 * Ends a generation or a training between two steps when the process is asked to stop (Ctrl-C,
 * SIGTERM): native code must not be running while the process takes its libraries down.
 */
final class ShutdownGuard implements AutoCloseable {
  private static final int PATIENCE_SECONDS = 10;
  private static final int EXIT_CODE = 130;

  private final Thread hook;

  ShutdownGuard(Glance glance) {
    this(glance::close);
  }

  /**
   * @param stop asks the work to end and returns when it has
   */
  ShutdownGuard(Runnable stop) {
    this.hook = new Thread(() -> run(stop), "glance-shutdown");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private static void run(Runnable stop) {
    Thread closing = new Thread(stop, "glance-close");
    closing.setDaemon(true);
    closing.start();
    try {
      closing.join(TimeUnit.SECONDS.toMillis(PATIENCE_SECONDS));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (closing.isAlive()) {
      // A step of a large model can take minutes; no file is being written, so end here.
      Runtime.getRuntime().halt(EXIT_CODE);
    }
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The hook is what is ending this generation.
    }
  }
}
