package org.glance4j.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.LoraLinear;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.weights.Weights;

/**
 * Takes a model's linears from its weights and remembers their names and widths, which is what an
 * adapter is checked against. Filled by one thread while a model is built; after that only read.
 */
public final class Linears {
  /** One of several linears that are stacked. */
  public record Part(String name, long outFeatures) {}

  private final Weights weights;
  private final AdapterMix merged;
  private final Map<String, LinearShape> shapes = new LinkedHashMap<>();

  /**
   * @param weights where the linears come from, and who owns what is made of them
   * @param merged adapters to merge into the weights as they are taken
   */
  public Linears(Weights weights, AdapterMix merged) {
    this.weights = weights;
    this.merged = merged;
  }

  /** The linear {@code name}: {@code NAME.weight} [outFeatures, inFeatures], {@code NAME.bias}. */
  public LoraLinear linear(String name, long inFeatures, long outFeatures) {
    return stacked(inFeatures, List.of(new Part(name, outFeatures)));
  }

  /**
   * Several linears that read the same input, as one.
   *
   * @param inFeatures the width of their input
   * @param parts in the order in which their outputs shall lie
   */
  public LoraLinear stacked(long inFeatures, List<Part> parts) {
    List<LoraLinear.Slice> slices = new ArrayList<>();
    long rows = 0;
    for (Part part : parts) {
      shapes.put(part.name(), new LinearShape(inFeatures, part.outFeatures()));
      slices.add(new LoraLinear.Slice(part.name(), rows, part.outFeatures()));
      rows += part.outFeatures();
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor weight =
          stack(
              slices,
              slice -> weights.take(slice.name() + ".weight", slice.outFeatures(), inFeatures));
      Tensor bias =
          stack(slices, slice -> weights.take(slice.name() + ".bias", slice.outFeatures()));
      return merge(new LoraLinear(weight, bias, slices), weight, bias, slices);
    }
  }

  /** One linear's tensor stays the mapped file; several are copied below each other. */
  private Tensor stack(
      List<LoraLinear.Slice> slices, Function<LoraLinear.Slice, Tensor> takeTensor) {
    Tensor[] parts = slices.stream().map(takeTensor).toArray(Tensor[]::new);
    if (parts.length == 1) {
      return parts[0];
    }
    Tensor stacked = weights.keep(torch.cat(new TensorVector(parts), 0));
    Arrays.stream(parts).forEach(weights::release);
    return stacked;
  }

  private LoraLinear merge(
      LoraLinear linear, Tensor weight, Tensor bias, List<LoraLinear.Slice> slices) {
    boolean changed =
        merged.parts().stream()
            .anyMatch(part -> slices.stream().anyMatch(s -> part.adapter().pair(s.name()) != null));
    if (!changed) {
      return linear;
    }
    Tensor mergedWeight = weights.keep(linear.mergedWeight(merged));
    weights.release(weight);
    return new LoraLinear(mergedWeight, bias, slices);
  }

  /** The widths of every linear taken, by name. */
  public Map<String, LinearShape> shapes() {
    return Collections.unmodifiableMap(shapes);
  }

  /**
   * Checks that {@code adapter} fits the linears in {@code shapes}, which compute in {@code dtype}.
   *
   * @throws ModelFormatException naming the adapter and the first linear that is not there or has
   *     other widths, or whose A and B do not fit each other
   * @throws IllegalArgumentException if its matrices have another type
   */
  public static void check(Map<String, LinearShape> shapes, ScalarType dtype, LoraAdapter adapter) {
    adapter
        .pairs()
        .forEach(
            (name, pair) -> {
              LinearShape shape = shapes.get(name);
              if (shape == null) {
                throw error(adapter, name, "this model has no such linear");
              }
              checkShapes(shape, pair, adapter, name);
              checkType(dtype, pair.down(), adapter);
              checkType(dtype, pair.up(), adapter);
            });
  }

  private static void checkShapes(
      LinearShape shape, LoraPair pair, LoraAdapter adapter, String name) {
    List<Long> down = sizes(pair.down());
    List<Long> up = sizes(pair.up());
    boolean fits =
        down.size() == 2
            && down.get(0) >= 1
            && down.get(1) == shape.inFeatures()
            && up.equals(List.of(shape.outFeatures(), down.get(0)));
    if (!fits) {
      throw error(
          adapter,
          name,
          "A has shape %s and B %s, but this model needs A [rank, %d] and B [%d, rank]"
              .formatted(down, up, shape.inFeatures(), shape.outFeatures()));
    }
  }

  private static void checkType(ScalarType dtype, Tensor matrix, LoraAdapter adapter) {
    ScalarType actual = matrix.scalar_type().intern();
    if (actual != dtype) {
      throw new IllegalArgumentException(
          adapter.name() + " was loaded as " + actual + "; load it as the model's " + dtype);
    }
  }

  private static List<Long> sizes(Tensor tensor) {
    List<Long> sizes = new ArrayList<>();
    for (long i = 0; i < tensor.dim(); i++) {
      sizes.add(tensor.size(i));
    }
    return sizes;
  }

  private static ModelFormatException error(LoraAdapter adapter, String name, String reason) {
    return new ModelFormatException(
        adapter.name() + ": " + name + ": " + reason + "; was it trained for another model?");
  }
}
