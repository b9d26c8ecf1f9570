package org.glance4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.glance4j.LineChart;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Series;
import org.glance4j.train.Expert.Outcome;

/** The picture of the losses over the steps. */
final class LossCurve {
  /** Losses of single draws jump; their mean over this share of the steps shows the course. */
  private static final int SMOOTHED_SHARE = 8;

  private LossCurve() {}

  static void write(Path file, List<ExpertRole> roles, TrainingState state) throws IOException {
    List<Series> lines = new ArrayList<>();
    for (ExpertRole role : roles) {
      double[] losses = state.outcomes(role.phase()).stream().mapToDouble(Outcome::loss).toArray();
      double[] steps = new double[losses.length];
      for (int i = 0; i < steps.length; i++) {
        steps[i] = i + 1;
      }
      int window = Math.max(1, steps.length / SMOOTHED_SHARE);
      lines.add(Series.of(role.name(), steps, losses).smoothed(window));
    }
    new LineChart("Training", Axis.linear("step"), Axis.log10("loss"), lines).write(file);
  }
}
