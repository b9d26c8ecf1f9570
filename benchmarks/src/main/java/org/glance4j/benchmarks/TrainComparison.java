package org.glance4j.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.glance4j.HostMemory;
import org.glance4j.train.OneSampleTrainer;
import org.glance4j.train.TrainingListener;
import org.glance4j.train.TrainingRecipe;
import org.glance4j.train.TrainingStep;
import org.glance4j.train.TrainingTarget;

/**
 * The published recipe's training step beside that of Python diffusers with PEFT ({@code
 * peers/diffusers_train.py}), in turns of {@value #TURN} steps in one run. That both compute the
 * same is tested elsewhere: against the reference data, both to 1e-5.
 *
 * <p>Arguments: MODEL_DIR IMAGE THREADS, then the command of the peer, for example {@code python
 * benchmarks/peers/diffusers_train.py}; MODEL_DIR and options are added to it.
 */
public final class TrainComparison {
  private static final int TURN = 10;
  private static final int STEPS = 120;

  /** Turns of each side that do not count. */
  private static final int WARM_UP = 2;

  private static final JsonMapper JSON = new JsonMapper();

  private TrainComparison() {}

  /** Measures and prints one line. */
  public static void main(String[] arguments) throws IOException {
    List<String> command = new ArrayList<>(Arrays.asList(arguments).subList(3, arguments.length));
    command.addAll(List.of(arguments[0], "--serve", "--image", arguments[1]));
    command.addAll(List.of("--threads", arguments[2]));
    Path output = Files.createTempDirectory("glance-train");
    try (Peer peer = new Peer(command)) {
      Turns turns = new Turns(peer);
      OneSampleTrainer.builder()
          .model(Path.of(arguments[0]))
          .sample(Path.of(arguments[1]), "red apple")
          .recipe(TrainingRecipe.builder(TrainingTarget.FLOW).steps(STEPS).build())
          .threads(Integer.parseInt(arguments[2]))
          .output(output)
          .saveEvery(STEPS)
          .listener(turns)
          .build()
          .train();
      System.out.printf(
          Locale.ROOT,
          "%s threads, step of batch 1, median: diffusers + PEFT %.1f ms, glance4j %.1f ms, ratio"
              + " %.2f; glance4j's peak memory %.2f GB%n",
          arguments[2],
          1e3 * turns.theirs(),
          1e3 * turns.ours(),
          turns.theirs() / turns.ours(),
          HostMemory.peakResidentBytes().orElse(0) / 1e9);
    }
  }

  /** Lets the peer take as many steps whenever ours has taken a turn. */
  private static final class Turns implements TrainingListener {
    private final Peer peer;
    private final List<Double> ours = new ArrayList<>();
    private final List<Double> theirs = new ArrayList<>();
    private long begin;
    private int turns;

    Turns(Peer peer) {
      this.peer = peer;
    }

    @Override
    public void onStep(TrainingStep step) {
      long now = System.nanoTime();
      // The first step of a turn begins where the peer's turn ends.
      if (begin != 0 && turns >= WARM_UP) {
        ours.add((now - begin) / 1e9);
      }
      if ((step.index() + 1) % TURN == 0) {
        List<Double> seconds = peer.steps();
        if (turns >= WARM_UP) {
          theirs.addAll(seconds);
        }
        turns++;
      }
      begin = step.index() + 1 == step.steps() ? 0 : System.nanoTime();
    }

    double ours() {
      return median(ours);
    }

    double theirs() {
      return median(theirs);
    }

    private static double median(List<Double> values) {
      return values.stream().sorted().skip(values.size() / 2).findFirst().orElseThrow();
    }
  }

  /** The Python process. */
  private static final class Peer implements AutoCloseable {
    private final Process process;
    private final Writer out;
    private final BufferedReader in;

    Peer(List<String> command) throws IOException {
      process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
      out = process.outputWriter(StandardCharsets.UTF_8);
      in =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
      answer();
    }

    List<Double> steps() {
      try {
        out.write("{\"steps\": " + TURN + "}\n");
        out.flush();
        List<Double> seconds = new ArrayList<>();
        answer().path("seconds").forEach(value -> seconds.add(value.asDouble()));
        return seconds;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private JsonNode answer() throws IOException {
      String line = in.readLine();
      if (line == null) {
        throw new IOException("the peer ended; what it said is above");
      }
      return JSON.readTree(line);
    }

    @Override
    public void close() {
      process.destroy();
    }
  }
}
