package org.glance4j.benchmarks.kernel;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.glance4j.DType;

/** All cases, each made when it is asked for: their inputs would not fit in memory together. */
public final class Catalogue {
  /** What FLUX.1-dev's and Qwen-Image's adapters have. */
  private static final int[] RANKS = {16, 32};

  /** Without and with CFG. */
  private static final int[] BATCHES = {1, 2};

  /**
   * A case to be made.
   *
   * @param operation as the C ABI calls it
   */
  public record Entry(String operation, Supplier<KernelCase> opener) {}

  private Catalogue() {}

  /**
   * The cases of a report.
   *
   * @param quick leaves out large shapes but one for each operation, and every second rank and
   *     batch
   */
  public static List<Entry> cases(boolean quick) {
    List<Entry> cases = new ArrayList<>();
    for (DType dtype : DType.values()) {
      loraLinears(cases, dtype, quick);
      for (FlowShape shape : FlowShape.values()) {
        cases.add(new Entry(FlowStepCase.OPERATION, () -> FlowStepCase.open(shape, dtype)));
      }
      for (RowsShape shape : RowsShape.values()) {
        cases.add(
            new Entry(ModulatedNormCase.OPERATION, () -> ModulatedNormCase.open(shape, dtype)));
        cases.add(new Entry(GatedSumCase.OPERATION, () -> GatedSumCase.open(shape, dtype)));
      }
      for (HeadsShape shape : HeadsShape.values()) {
        cases.add(new Entry(QkNormRopeCase.OPERATION, () -> QkNormRopeCase.open(shape, dtype)));
        cases.add(new Entry(AttentionCase.OPERATION, () -> AttentionCase.open(shape, dtype)));
      }
      for (BackwardShape shape : BackwardShape.values()) {
        cases.add(
            new Entry(
                LoraBackwardCase.OPERATION, () -> LoraBackwardCase.open(shape, RANKS[0], dtype)));
      }
    }
    for (PictureShape shape : PictureShape.values()) {
      cases.add(new Entry(Conv2dCase.OPERATION, () -> Conv2dCase.open(shape)));
    }
    return cases;
  }

  /** What the machine can do at best: copying, then products. */
  public static List<Entry> ceilings() {
    List<Entry> cases = new ArrayList<>();
    cases.add(new Entry(CeilingCase.COPY, CeilingCase::copy));
    for (DType dtype : DType.values()) {
      for (MatmulShape shape : MatmulShape.values()) {
        cases.add(new Entry(CeilingCase.MATMUL, () -> CeilingCase.matmul(shape, dtype)));
      }
    }
    return cases;
  }

  private static void loraLinears(List<Entry> cases, DType dtype, boolean quick) {
    for (int rank : RANKS) {
      for (LoraShape shape : LoraShape.of(KernelCase.Family.LARGE)) {
        if (shape == LoraShape.LARGE_LINEAR || !quick) {
          cases.add(
              new Entry(
                  LoraLinearCase.OPERATION, () -> LoraLinearCase.open(shape, 1, rank, dtype)));
        }
      }
    }
    for (LoraShape shape : LoraShape.of(KernelCase.Family.BUNDLED)) {
      for (int rank : RANKS) {
        for (int batch : BATCHES) {
          boolean first = rank == RANKS[0] && batch == BATCHES[1];
          if (first || !quick) {
            cases.add(
                new Entry(
                    LoraLinearCase.OPERATION,
                    () -> LoraLinearCase.open(shape, batch, rank, dtype)));
          }
        }
      }
    }
  }
}
