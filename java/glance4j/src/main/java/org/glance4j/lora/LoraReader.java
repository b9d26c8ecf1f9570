package org.glance4j.lora;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.weights.SafetensorsFile;
import org.glance4j.weights.TensorInfo;

/** Makes pairs of one file's modules, checking every number. Its tensors belong to the caller. */
final class LoraReader {
  private final SafetensorsFile file;
  private final ScalarType dtype;
  private final Map<String, LinearShape> linears;
  private final AdapterMetadata metadata;
  private final double scaleWithoutAlpha;
  private final Map<String, LoraPair> pairs = new LinkedHashMap<>();
  private final Map<String, String> namesByLinear = new LinkedHashMap<>();
  private int withoutAlpha;

  LoraReader(
      SafetensorsFile file,
      ScalarType dtype,
      Map<String, LinearShape> linears,
      double scaleWithoutAlpha) {
    this.file = file;
    this.dtype = dtype;
    this.linears = linears;
    this.metadata = AdapterMetadata.read(file.header());
    this.scaleWithoutAlpha = scaleWithoutAlpha;
  }

  /** The pairs read so far, by linear. */
  Map<String, LoraPair> pairs() {
    return pairs;
  }

  /** How many of the modules read so far had no alpha. */
  int withoutAlpha() {
    return withoutAlpha;
  }

  void requireMetadataUsed(List<LoraModule> modules) {
    metadata.requireAllUsed(modules.stream().map(LoraModule::name).toList());
  }

  void add(LoraModule module, LoraTarget target) {
    for (String linear : target.linears()) {
      String other = namesByLinear.put(linear, module.name());
      if (other != null) {
        throw error(module.name(), "and " + other + " are both for the linear " + linear);
      }
    }
    List<LinearShape> shapes = target.linears().stream().map(this::shape).toList();
    checkShapes(module, shapes);
    Tensor down = matrix(module.down());
    Tensor up = matrix(module.up());
    double scale = scale(module);
    if (target.swapHalves()) {
      up = up.roll(new long[] {up.size(0) / 2}, 0);
    }
    if (shapes.size() == 1) {
      pairs.put(target.linears().get(0), new LoraPair(down, up, scale));
    } else {
      split(target.linears(), down, up, scale);
    }
  }

  private LinearShape shape(String linear) {
    LinearShape shape = linears.get(linear);
    if (shape == null) {
      throw new IllegalArgumentException("no shape is given for the linear " + linear);
    }
    return shape;
  }

  private void checkShapes(LoraModule module, List<LinearShape> shapes) {
    List<Long> down = matrixShape(module.down());
    List<Long> up = matrixShape(module.up());
    long rank = down.get(0);
    if (rank < 1) {
      throw error(module.down().name(), "has shape " + down + ": the rank must be at least 1");
    }
    if (up.get(1) != rank) {
      throw error(
          module.up().name(),
          "has shape " + up + ", so rank " + up.get(1) + ", but the down matrix has rank " + rank);
    }
    long in = shapes.get(0).inFeatures();
    if (down.get(1) != in) {
      throw error(
          module.down().name(), "has shape " + down + ", but the linear takes " + in + " features");
    }
    long out = shapes.stream().mapToLong(LinearShape::outFeatures).sum();
    if (up.get(0) != out) {
      throw error(
          module.up().name(), "has shape " + up + ", but the linear gives " + out + " features");
    }
  }

  private List<Long> matrixShape(TensorInfo info) {
    if (info.shape().size() != 2) {
      throw error(info.name(), "has shape " + info.shape() + "; a LoRA matrix has 2 dimensions");
    }
    return info.shape();
  }

  private Tensor matrix(TensorInfo info) {
    requireFloating(info);
    Tensor matrix = file.tensor(info.name()).to(dtype);
    if (!matrix.isfinite().all().item_bool()) {
      throw error(info.name(), "holds NaN or infinity, or a number too large for " + dtype);
    }
    return matrix;
  }

  private double scale(LoraModule module) {
    long rank = module.down().shape().get(0);
    OptionalDouble listed = metadata.scale(module.name(), rank);
    TensorInfo alpha = module.alpha();
    if (alpha != null) {
      return alpha(alpha) / rank;
    }
    if (listed.isEmpty()) {
      withoutAlpha++;
    }
    return listed.orElse(scaleWithoutAlpha);
  }

  private double alpha(TensorInfo info) {
    requireFloating(info);
    if (info.shape().stream().anyMatch(size -> size != 1)) {
      throw error(info.name(), "has shape " + info.shape() + "; an alpha is one number");
    }
    double alpha = file.tensor(info.name()).item_double();
    if (!(alpha > 0 && alpha < Double.POSITIVE_INFINITY)) {
      throw error(info.name(), "is " + alpha + "; an alpha is a finite number above 0");
    }
    return alpha;
  }

  private void requireFloating(TensorInfo info) {
    switch (info.dtype()) {
      case Float, Double, Half, BFloat16 -> {}
      default ->
          throw error(info.name(), "is of type " + info.dtype() + "; use f32, f64, f16 or bf16");
    }
  }

  /**
   * Gives each of {@code linears} its rows of {@code up}. Where those rows use only some of the
   * ranks (a block-diagonal up, from adapters that were separate), the others are cut off: their
   * products are zero. A linear whose rows are all zero gets no pair.
   */
  private void split(List<String> linears, Tensor down, Tensor up, double scale) {
    long row = 0;
    for (String linear : linears) {
      long rows = shape(linear).outFeatures();
      Tensor part = up.narrow(0, row, rows);
      row += rows;
      Tensor used = part.ne(new Scalar(0)).any(0).nonzero();
      if (used.numel() > 0) {
        long first = used.min().item_long();
        long ranks = used.max().item_long() - first + 1;
        Tensor ownUp = part.narrow(1, first, ranks).contiguous();
        pairs.put(linear, new LoraPair(down.narrow(0, first, ranks), ownUp, scale));
      }
    }
  }

  private ModelFormatException error(String item, String reason) {
    return ModelFormatException.in(file.header().file(), item, reason);
  }
}
