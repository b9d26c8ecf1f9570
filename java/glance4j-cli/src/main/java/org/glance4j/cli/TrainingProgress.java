package org.glance4j.cli;

import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.glance4j.train.TrainingListener;
import org.glance4j.train.TrainingStep;
import org.jspecify.annotations.Nullable;

/** A progress bar on stderr for the teacher's trajectories, then one for each expert. */
final class TrainingProgress implements TrainingListener, AutoCloseable {
  private static final int UPDATE_MILLIS = 100;

  private final boolean visible = Boolean.getBoolean("glance.terminal");
  private @Nullable ProgressBar bar;
  private String task = "";

  private ProgressBar bar(String wanted, int all) {
    if (bar == null || !task.equals(wanted)) {
      close();
      task = wanted;
      bar =
          new ProgressBarBuilder()
              .setTaskName(wanted)
              .setInitialMax(all)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .build();
    }
    return bar;
  }

  @Override
  public void onTrajectory(int done, int all) {
    if (visible) {
      bar("teacher", all).stepTo(done);
    }
  }

  @Override
  public void onStep(TrainingStep step) {
    if (!visible) {
      return;
    }
    ProgressBar shown = bar(step.phase().toString(), step.steps());
    shown.stepTo(step.index() + 1L);
    shown.setExtraMessage(
        String.format(
            Locale.ROOT,
            " loss %.4f gradient %.3f rate %.2g, %.0f s left",
            step.loss(),
            step.gradientNorm(),
            step.learningRate(),
            step.secondsLeft()));
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
