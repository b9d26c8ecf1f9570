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
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Activation;
import org.glance4j.kernel.NativeLibrary;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.weights.Weights;

/**
 * Takes a model's linears from its weights, for the backend the model runs on, and remembers their
 * names and widths, which is what an adapter is checked against. Filled by one thread while a model
 * is built; after that only read, until {@link #close()} frees what was made of the weights.
 */
public final class Linears implements AutoCloseable {
  /**
   * One of several linears that are stacked.
   *
   * @param activation what is done with its result
   */
  public record Part(String name, long outFeatures, Activation activation) {
    /** A linear without an activation. */
    public Part(String name, long outFeatures) {
      this(name, outFeatures, Activation.NONE);
    }
  }

  private final Weights weights;
  private final AdapterMix merged;
  private final LoraMatmul matmul;
  private final boolean training;
  private final List<LoraLinears> taken = new ArrayList<>();
  private final Map<String, LinearShape> shapes = new LinkedHashMap<>();

  /**
   * @param weights where the linears come from, and who owns what is made of them
   * @param merged adapters to merge into the weights as they are taken
   * @param backend where the linears run
   */
  public Linears(Weights weights, AdapterMix merged, Backend backend) {
    this(weights, merged, backend, false);
  }

  /**
   * As the other one.
   *
   * @param training true if gradients shall be recorded, which {@link Backend#TORCH} always does
   */
  public Linears(Weights weights, AdapterMix merged, Backend backend, boolean training) {
    this.weights = weights;
    this.merged = merged;
    this.matmul = LoraMatmul.on(backend);
    this.training = training;
  }

  /** The linear {@code name}: {@code NAME.weight} [outFeatures, inFeatures], {@code NAME.bias}. */
  public LoraLinears linear(String name, long inFeatures, long outFeatures) {
    return stacked(inFeatures, List.of(new Part(name, outFeatures)));
  }

  /**
   * Several linears that read the same input, as one.
   *
   * @param inFeatures the width of their input
   * @param parts in the order in which their outputs shall lie
   */
  public LoraLinears stacked(long inFeatures, List<Part> parts) {
    List<LoraLinears.Slice> slices = new ArrayList<>();
    long rows = 0;
    for (Part part : parts) {
      shapes.put(part.name(), new LinearShape(inFeatures, part.outFeatures()));
      slices.add(new LoraLinears.Slice(part.name(), rows, part.outFeatures(), part.activation()));
      rows += part.outFeatures();
    }
    try (PointerScope scope = new PointerScope()) {
      LoraLinears linears = of(inFeatures, slices);
      taken.add(linears);
      return linears;
    }
  }

  private LoraLinears of(long inFeatures, List<LoraLinears.Slice> slices) {
    if (backend() == Backend.TORCH) {
      return new TorchLinears(
          stack(slices, slice -> weight(slice, inFeatures)), stack(slices, this::bias), slices);
    }
    List<PackedLinears.Packed> packed = new ArrayList<>();
    List<Tensor> kept = new ArrayList<>();
    for (LoraLinears.Slice slice : slices) {
      Tensor weight = weight(slice, inFeatures);
      packed.add(pack(slice, weight));
      if (training) {
        kept.add(weight);
      } else {
        weights.release(weight);
      }
    }
    PackedLinears forward = new PackedLinears(matmul, packed);
    return training
        ? new TrainingLinears(forward, new TransposedWeights(backend(), weights, kept), slices)
        : forward;
  }

  @SuppressWarnings("ReferenceEquality")
  private Tensor weight(LoraLinears.Slice slice, long inFeatures) {
    Tensor weight = weights.take(slice.name() + ".weight", slice.outFeatures(), inFeatures);
    Tensor changed = LoraLinears.merged(weight, slice.name(), merged);
    if (changed == weight) {
      return weight;
    }
    weights.release(weight);
    return weights.keep(changed);
  }

  private Tensor bias(LoraLinears.Slice slice) {
    return weights.take(slice.name() + ".bias", slice.outFeatures());
  }

  /** One linear's tensor stays the mapped file; several are copied below each other. */
  private Tensor stack(
      List<LoraLinears.Slice> slices, Function<LoraLinears.Slice, Tensor> takeTensor) {
    Tensor[] parts = slices.stream().map(takeTensor).toArray(Tensor[]::new);
    if (parts.length == 1) {
      return parts[0];
    }
    Tensor stacked = weights.keep(torch.cat(new TensorVector(parts), 0));
    Arrays.stream(parts).forEach(weights::release);
    return stacked;
  }

  /** Packs straight from the mapped file, whose pages are then not needed any more. */
  private PackedLinears.Packed pack(LoraLinears.Slice slice, Tensor weight) {
    PackedMatrix packed = PackedMatrix.of(matmul.backend(), weight);
    if (weights.isMapped(weight)) {
      NativeLibrary.releaseMappedPages(weight);
    }
    return new PackedLinears.Packed(slice, packed, bias(slice));
  }

  /** Frees what the linears taken made of adapters; nothing may be running. */
  public void releaseAdapters() {
    taken.forEach(LoraLinears::releaseAdapters);
  }

  /** Frees what the linears taken hold beside the weights. Idempotent; nothing may be running. */
  @Override
  public void close() {
    taken.forEach(LoraLinears::close);
  }

  /** Where the linears run: never {@link Backend#AUTO}. */
  public Backend backend() {
    return matmul.backend();
  }

  /** True if gradients are recorded by the kernels, in place of by LibTorch. */
  public boolean recordsByItself() {
    return training && backend() != Backend.TORCH;
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
