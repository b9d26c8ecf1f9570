package org.glance4j.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.glance4j.LineChart;
import org.glance4j.LineChart.Axis;
import org.glance4j.LineChart.Point;
import org.glance4j.LineChart.Series;
import org.glance4j.schedule.Phase;

/** Draws the curvature over sigma, with an upright line at each kept sigma. */
final class PlanChart {
  private PlanChart() {}

  static LineChart of(SchedulePlan plan) {
    Curvature curvature = plan.curvature();
    List<Point> points = new ArrayList<>();
    for (int i = 0; i < curvature.values().size(); i++) {
      double middle = (curvature.nodes().get(i) + curvature.nodes().get(i + 1)) / 2;
      points.add(new Point(middle, curvature.values().get(i)));
    }
    String title =
        String.format(
            Locale.ROOT,
            "%d steps planned for %s, cfg %s",
            plan.steps().size(),
            plan.inputs().model(),
            plan.inputs().cfg());
    return new LineChart(
        title,
        Axis.linear("sigma"),
        Axis.linear("curvature"),
        List.of(
            new Series("curvature", points, 1), kept(plan, Phase.SLOW), kept(plan, Phase.FAST)));
  }

  private static Series kept(SchedulePlan plan, Phase phase) {
    List<Point> points = new ArrayList<>();
    plan.steps().stream()
        .filter(step -> step.phase() == phase)
        .forEach(
            step -> {
              double sigma = step.sigma();
              points.add(new Point(sigma, 0));
              points.add(new Point(sigma, plan.curvature().at(sigma)));
              points.add(new Point(sigma, Double.NaN)); // Lifts the pen.
            });
    return new Series(phase + " steps", points, 1);
  }
}
