package org.glance4j.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * How methods compare. Plain Java memory.
 *
 * @param reference the 50-step result itself, equal to itself
 * @param methods in the order of the request
 */
public record Evaluation(
    EvaluationRequest request,
    MethodResult reference,
    List<MethodResult> methods,
    Machine machine) {
  /** Copies the list. */
  public Evaluation {
    methods = List.copyOf(methods);
  }

  /** The first method with as many evaluations as {@code method}, unless that is itself. */
  public Optional<MethodResult> baselineOf(MethodResult method) {
    return methods.stream()
        .filter(other -> other.evaluations() == method.evaluations())
        .findFirst()
        .filter(first -> !first.method().equals(method.method()));
  }

  /**
   * Writes {@code evaluation.md} (a table), {@code evaluation.json} (all figures of all pictures),
   * {@code quality.png} (PSNR against evaluations) and, if samples were kept, {@code sheet.png} (a
   * row for each method). Each file is whole or, after an error, not there.
   *
   * @param folder that exists
   * @param command the command line that made this, for the table's heading
   */
  public void write(Path folder, String command) throws IOException {
    EvaluationFiles.write(this, folder, command);
  }

  /** Fails, saying the fix, if {@link #write} could not: worth asking before the work. */
  public static void requireWritable(Path folder) throws IOException {
    EvaluationFiles.requireWritable(folder);
  }

  /** The table of {@code evaluation.md}, without its heading. */
  public String table() {
    return EvaluationTable.of(this);
  }
}
