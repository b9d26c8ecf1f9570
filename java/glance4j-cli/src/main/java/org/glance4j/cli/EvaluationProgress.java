package org.glance4j.cli;

import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.glance4j.evaluate.EvaluationListener;
import org.glance4j.evaluate.Method;
import org.glance4j.evaluate.PictureResult;
import org.jspecify.annotations.Nullable;

/** A progress bar on stderr that shows the picture done last and how close it is. */
final class EvaluationProgress implements EvaluationListener, AutoCloseable {
  private static final int UPDATE_MILLIS = 100;

  private final boolean visible;
  private @Nullable ProgressBar bar;

  private EvaluationProgress(boolean visible) {
    this.visible = visible;
  }

  /** A bar where the launcher found that stderr is a terminal; otherwise none. */
  static EvaluationProgress start() {
    return new EvaluationProgress(Boolean.getBoolean("glance.terminal"));
  }

  @Override
  public void onPicture(Method method, PictureResult picture, int done, int all) {
    if (!visible) {
      return;
    }
    if (bar == null) {
      bar =
          new ProgressBarBuilder()
              .setTaskName("pictures")
              .setInitialMax(all)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .build();
    }
    bar.stepTo(done);
    bar.setExtraMessage(String.format(Locale.ROOT, " %s %.1f dB", method.name(), picture.psnr()));
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
