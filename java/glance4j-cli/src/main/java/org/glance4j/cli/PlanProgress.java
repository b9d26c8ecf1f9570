package org.glance4j.cli;

import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.glance4j.plan.PlanListener;
import org.jspecify.annotations.Nullable;

/** A progress bar on stderr that shows what a plan is at, where stderr is a terminal. */
final class PlanProgress implements PlanListener, AutoCloseable {
  private static final int UPDATE_MILLIS = 100;

  private final boolean visible;
  private @Nullable ProgressBar bar;

  private PlanProgress(boolean visible) {
    this.visible = visible;
  }

  static PlanProgress start() {
    return new PlanProgress(Boolean.getBoolean("glance.terminal"));
  }

  @Override
  public void onProgress(String activity, int done, int total) {
    if (!visible) {
      return;
    }
    if (bar == null) {
      bar =
          new ProgressBarBuilder()
              .setTaskName("prompts")
              .setInitialMax(total)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .build();
    }
    bar.stepTo(done);
    bar.setExtraMessage(" " + activity);
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
