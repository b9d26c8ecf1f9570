package org.glance4j;

import java.util.Objects;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.cuda.CudaGraph;
import org.glance4j.kernel.Cfg;
import org.glance4j.kernel.FlowStep;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.StepTable;
import org.glance4j.model.Velocity;
import org.jspecify.annotations.Nullable;

/**
 * A {@link Stepper} that records the second step as a CUDA graph and from then on launches that:
 * one call for the hundreds of a step, for all steps, phases and pictures of a generation. The
 * first step runs directly, so that libraries make their one-time preparations outside the graph.
 */
final class RecordedStepper implements Stepper {
  private final FlowStep flowStep;
  private final Cfg cfg;
  private final StepTable table;
  private final Tensor schedule;
  private final Denoiser denoiser;
  private final Denoiser.Selected selected;
  private boolean prepared;
  private @Nullable Tensor latents;
  private @Nullable CudaGraph graph;
  private @Nullable Velocity recorded;

  RecordedStepper(Denoiser denoiser, DenoiseTask task, FlowStep flowStep, Cfg cfg) {
    this.flowStep = flowStep;
    this.cfg = cfg;
    this.table = new StepTable(flowStep.backend(), task, cfg.scale());
    this.schedule = table.schedule();
    this.denoiser = denoiser;
    this.selected = denoiser.selected(table);
  }

  @Override
  public Tensor begin(Tensor noise) {
    // The graph reads and writes the memory that it was recorded with.
    if (latents == null) {
      latents = noise.clone().retainReference();
    } else {
      latents.copy_(noise);
    }
    return latents;
  }

  @Override
  public Velocity step(int index) {
    Tensor moved = Objects.requireNonNull(latents, "begin comes first");
    table.select(index);
    Velocity velocity = prepared ? replay(moved) : run(moved);
    prepared = true;
    flowStep.backend().synchronize();
    return velocity;
  }

  private Velocity run(Tensor moved) {
    Velocity velocity = selected.velocity(moved);
    flowStep.updateScheduled(moved, velocity.positive(), velocity.negative(), cfg.mode(), schedule);
    return velocity;
  }

  private Velocity replay(Tensor moved) {
    if (graph == null) {
      graph = CudaGraph.record(() -> recorded = retained(run(moved)));
    }
    graph.replay();
    return Objects.requireNonNull(recorded);
  }

  /** The graph writes the velocity anew in every step, so its memory must stay. */
  private static Velocity retained(Velocity velocity) {
    velocity.positive().retainReference();
    if (velocity.negative() != null) {
      velocity.negative().retainReference();
    }
    return velocity;
  }

  @Override
  public void close() {
    if (graph != null) {
      graph.close();
    }
    if (recorded != null) {
      recorded.positive().close();
      if (recorded.negative() != null) {
        recorded.negative().close();
      }
    }
    if (latents != null) {
      latents.close();
    }
    denoiser.close();
  }
}
