package org.glance4j.model.dit;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Linears;
import org.glance4j.model.Probe;

/**
 * The timestep's part of the conditioning vector: sinusoids through an {@link EmbeddingMlp}. What
 * came of the schedules used last is kept, for generations use the same ones again. Thread-safe.
 */
public final class TimestepEmbedding implements AutoCloseable {
  private static final int SCHEDULES = 8;

  /** 50 steps with CFG and some more; they take 1.6 MB at FLUX.1's size. */
  private static final int MOST_ROWS = 128;

  private final Backend backend;
  private final String module;
  private final EmbeddingMlp mlp;
  private final UnaryOperator<Tensor> sinusoids;

  /** By the timesteps, the one used longest ago first. */
  private final Map<List<Float>, Tensor> kept = new LinkedHashMap<>(SCHEDULES, 0.75f, true);

  private TimestepEmbedding(
      Backend backend, String module, EmbeddingMlp mlp, UnaryOperator<Tensor> sinusoids) {
    this.backend = backend;
    this.module = module;
    this.mlp = mlp;
    this.sinusoids = sinusoids;
  }

  /**
   * Takes {@code MODULE.timestep_embedder}.
   *
   * @param width of the result
   * @param sinusoids of timesteps: shape [rows] to [rows, {@value Sinusoids#WIDTH}]
   */
  public static TimestepEmbedding take(
      Linears linears, String module, long width, UnaryOperator<Tensor> sinusoids) {
    String name = module + ".timestep_embedder";
    EmbeddingMlp mlp = EmbeddingMlp.take(linears, name, Sinusoids.WIDTH, width);
    return new TimestepEmbedding(linears.backend(), module, mlp, sinusoids);
  }

  /**
   * Embeds.
   *
   * @param timesteps sigma of each row, f32 [rows]
   * @return shape [rows, width], of the caller's scope; not to be written to
   */
  public Tensor forward(Tensor timesteps, AdapterChoice mix, Probe probe) {
    return probe == Probe.NONE && mayKeep(timesteps, mix)
        ? lookUp(timesteps, mix)
        : embed(timesteps, mix, probe);
  }

  /**
   * False where the next generation might want something else: gradients, or the values that
   * adapters have then. Not on CUDA, where reading the timesteps would wait for the device, and
   * another stream might read what is kept too early.
   */
  private boolean mayKeep(Tensor timesteps, AdapterChoice mix) {
    return backend != Backend.CUDA
        && timesteps.numel() <= MOST_ROWS
        && !GradMode.is_enabled()
        && mix instanceof AdapterMix adapters
        && mlp.isLeftAloneBy(adapters);
  }

  private synchronized Tensor lookUp(Tensor timesteps, AdapterChoice mix) {
    List<Float> key = values(timesteps);
    Tensor known = kept.get(key);
    if (known == null) {
      if (kept.size() == SCHEDULES) {
        Iterator<Tensor> oldestFirst = kept.values().iterator();
        oldestFirst.next().close();
        oldestFirst.remove();
      }
      try (PointerScope temporaries = new PointerScope()) {
        known = embed(timesteps, mix, Probe.NONE).retainReference();
      }
      kept.put(key, known);
    }
    // Shares the values: they live on when the kept tensor is closed.
    return known.alias();
  }

  private static List<Float> values(Tensor timesteps) {
    float[] values = new float[Math.toIntExact(timesteps.numel())];
    try (PointerScope temporaries = new PointerScope()) {
      timesteps.to(ScalarType.Float).contiguous().data_ptr_float().get(values);
    }
    List<Float> list = new ArrayList<>(values.length);
    for (float value : values) {
      list.add(value);
    }
    return list;
  }

  private Tensor embed(Tensor timesteps, AdapterChoice mix, Probe probe) {
    Tensor waves = sinusoids.apply(timesteps);
    probe.see(module, "time_proj", () -> waves);
    return mlp.forward(waves, mix);
  }

  /** Frees what is kept. Idempotent. */
  @Override
  public synchronized void close() {
    kept.values().forEach(Tensor::close);
    kept.clear();
  }
}
