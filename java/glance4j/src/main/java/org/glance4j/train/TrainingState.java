package org.glance4j.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.AtomicFile;
import org.glance4j.ModelFormatException;
import org.glance4j.schedule.Phase;
import org.glance4j.train.Expert.Outcome;
import org.glance4j.weights.SafetensorsFile;
import org.glance4j.weights.SafetensorsWriter;

/**
 * The file that a training goes on from after it was stopped or killed: each expert's adapter, the
 * optimiser's means of the one in training, and what their steps showed. It is replaced whole, so a
 * kill leaves the one before.
 */
final class TrainingState implements AutoCloseable {
  private static final String FINGERPRINT = "fingerprint";

  private final Path file;
  private final String fingerprint;
  private final Map<Phase, List<Outcome>> outcomes = new EnumMap<>(Phase.class);
  private final Map<String, Tensor> finished = new LinkedHashMap<>();
  private boolean found;

  /**
   * Begins anew, or where the same training was saved.
   *
   * @param fingerprint of everything the training depends on
   * @throws ModelFormatException if the file is damaged
   */
  TrainingState(Path file, String fingerprint) {
    this.file = file;
    this.fingerprint = fingerprint;
    if (Files.isRegularFile(file)) {
      try (SafetensorsFile saved = SafetensorsFile.open(file)) {
        found = fingerprint.equals(saved.header().metadata().get(FINGERPRINT));
        if (found) {
          readOutcomes(saved);
        }
      }
    }
  }

  /** What the steps of {@code phase}'s expert have shown so far; to be added to. */
  List<Outcome> outcomes(Phase phase) {
    return outcomes.computeIfAbsent(phase, key -> new ArrayList<>());
  }

  /**
   * Gives the training of {@code phase}'s expert, which is new, what was saved of it.
   *
   * @param tensors by name, those of {@link #save} or {@link #finish}; changed in place
   */
  void restore(Phase phase, Map<String, Tensor> tensors) {
    if (!found) {
      return;
    }
    try (SafetensorsFile saved = SafetensorsFile.open(file);
        PointerScope scope = new PointerScope();
        NoGradGuard noGrad = new NoGradGuard()) {
      for (Map.Entry<String, Tensor> part : tensors.entrySet()) {
        String name = phase + "." + part.getKey();
        if (saved.tensors().containsKey(name)) {
          part.getValue().copy_(saved.tensor(name));
        }
      }
    }
  }

  /** Saves that {@code phase}'s expert has taken as many steps as it has outcomes. */
  void save(Phase phase, Map<String, Tensor> expert) throws IOException {
    try (PointerScope scope = new PointerScope()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>(finished);
      expert.forEach((name, tensor) -> tensors.put(phase + "." + name, tensor));
      outcomes.forEach(
          (known, steps) -> {
            double[] losses = steps.stream().mapToDouble(Outcome::loss).toArray();
            double[] norms = steps.stream().mapToDouble(Outcome::gradientNorm).toArray();
            tensors.put(losses(known), torch.tensor(losses));
            tensors.put(norms(known), torch.tensor(norms));
          });
      Map<String, String> metadata = Map.of(FINGERPRINT, fingerprint);
      AtomicFile.write(file, out -> SafetensorsWriter.write(out, tensors, metadata));
    }
  }

  /** {@code phase}'s expert is trained; this is kept of it in what is saved from now on. */
  void finish(Phase phase, Map<String, Tensor> result) {
    result.forEach(
        (name, tensor) -> finished.put(phase + "." + name, tensor.clone().retainReference()));
  }

  /** The training is over. */
  void delete() throws IOException {
    Files.deleteIfExists(file);
  }

  private void readOutcomes(SafetensorsFile saved) {
    try (PointerScope scope = new PointerScope()) {
      for (Phase phase : Phase.values()) {
        if (saved.tensors().containsKey(losses(phase))) {
          double[] losses = doubles(saved.tensor(losses(phase)));
          double[] norms = doubles(saved.tensor(norms(phase)));
          for (int i = 0; i < losses.length; i++) {
            outcomes(phase).add(new Outcome(losses[i], norms[i]));
          }
        }
      }
    }
  }

  private static String losses(Phase phase) {
    return phase + ".losses";
  }

  private static String norms(Phase phase) {
    return phase + ".gradient_norms";
  }

  private static double[] doubles(Tensor tensor) {
    Tensor contiguous = tensor.contiguous();
    double[] values = new double[Math.toIntExact(contiguous.numel())];
    if (values.length > 0) {
      new DoublePointer(contiguous.data_ptr()).get(values);
    }
    return values;
  }

  @Override
  public void close() {
    finished.values().forEach(Tensor::close);
  }
}
