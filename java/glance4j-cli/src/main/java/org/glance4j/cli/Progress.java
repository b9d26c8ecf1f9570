package org.glance4j.cli;

import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.glance4j.GenerationListener;
import org.glance4j.StepEvent;
import org.jspecify.annotations.Nullable;

/** A progress bar on stderr that shows phase, sigma and step time. */
final class Progress implements GenerationListener, AutoCloseable {
  private static final int UPDATE_MILLIS = 100;

  private final boolean visible;
  private @Nullable ProgressBar bar;

  private Progress(boolean visible) {
    this.visible = visible;
  }

  /**
   * @param wanted false for none; there is none either unless the launcher found that stderr is a
   *     terminal, which Java cannot tell on every version
   */
  static Progress start(boolean wanted) {
    return new Progress(wanted && Boolean.getBoolean("glance.terminal"));
  }

  @Override
  public void onStep(StepEvent event) {
    if (!visible) {
      return;
    }
    if (bar == null) {
      bar =
          new ProgressBarBuilder()
              .setTaskName("steps")
              .setInitialMax((long) event.steps() * event.images())
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .build();
    }
    bar.stepTo((long) event.image() * event.steps() + event.index() + 1);
    bar.setExtraMessage(
        String.format(
            Locale.ROOT,
            " %s sigma %.4f %.0f ms",
            event.step().phase(),
            event.step().sigma(),
            event.seconds() * 1000));
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
