package org.glance4j.train;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Conditioning;
import org.glance4j.model.DenoiseTask;
import org.glance4j.model.Denoiser;
import org.glance4j.model.ImageModel;
import org.glance4j.model.ImageSize;
import org.glance4j.schedule.Phase;
import org.glance4j.schedule.Schedule;
import org.glance4j.schedule.Step;
import org.jspecify.annotations.Nullable;

/**
 * Denoisers of single steps, of which the last few are kept: a training on one sample asks for the
 * same five again and again. In 16 bits the adapters' copies are new in each call, and so are the
 * denoisers. For one thread.
 */
final class StepDenoisers implements AutoCloseable {
  /** The published phases have five steps; each takes some 10 MB of FLUX. */
  private static final int KEPT = 8;

  private record Key(Conditioning prompt, @Nullable Conditioning negative, Step step) {}

  /**
   * One of them.
   *
   * @param tensors the scope of what it computed
   */
  private record Kept(Denoiser denoiser, PointerScope tensors) {
    void close() {
      denoiser.close();
      tensors.close();
    }
  }

  private final ImageModel model;
  private final ImageSize size;
  private final double guidance;
  private final Map<Key, Kept> kept = new LinkedHashMap<>(KEPT, 0.75f, true);
  private @Nullable Map<Phase, AdapterMix> mixes;

  /**
   * @param guidance see {@link DenoiseTask#guidance()}
   */
  StepDenoisers(ImageModel model, ImageSize size, double guidance) {
    this.model = model;
    this.size = size;
    this.guidance = guidance;
  }

  /**
   * The denoiser of an example's step, its only one; it stays open until {@value #KEPT} others have
   * been asked for.
   *
   * @param current the adapters; those made for others than the last call's are let go
   */
  @SuppressWarnings("ReferenceEquality") // The same mix has the same matrices, whatever they hold.
  Denoiser get(Example example, Map<Phase, AdapterMix> current) {
    if (mixes != current) {
      close();
      mixes = current;
    }
    Key key = new Key(example.prompt(), example.negative(), example.step());
    Kept known = kept.get(key);
    if (known != null) {
      return known.denoiser();
    }
    if (kept.size() == KEPT) {
      Iterator<Kept> oldestFirst = kept.values().iterator();
      oldestFirst.next().close();
      oldestFirst.remove();
    }
    Kept made = prepare(key, current);
    kept.put(key, made);
    return made.denoiser();
  }

  private Kept prepare(Key key, Map<Phase, AdapterMix> current) {
    // An extended scope is closed twice: the first time it only stops being the innermost one.
    try (PointerScope scope = new PointerScope().extend()) {
      Schedule schedule = new Schedule("training", List.of(key.step()));
      DenoiseTask task =
          new DenoiseTask(key.prompt(), key.negative(), size, guidance, schedule, current);
      return new Kept(model.denoiser(task), scope);
    }
  }

  /** Lets all of them go. */
  @Override
  public void close() {
    kept.values().forEach(Kept::close);
    kept.clear();
  }
}
