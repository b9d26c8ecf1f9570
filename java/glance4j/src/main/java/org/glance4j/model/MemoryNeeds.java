package org.glance4j.model;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.weights.ModelIndex;
import org.glance4j.weights.ModelInventory;
import org.glance4j.weights.TensorInfo;
import org.jspecify.annotations.Nullable;

/**
 * About how much memory of its own loading each component of a model takes, where it computes: on a
 * CUDA device all its weights; on the CPU what is converted to another type or packed for the
 * kernels, while weights that are used in the mapped file take none. Immutable.
 *
 * @param components in the pipeline's order
 */
public record MemoryNeeds(List<Component> components) {
  /** Copies the list. */
  public MemoryNeeds {
    components = List.copyOf(components);
  }

  /**
   * One component.
   *
   * @param name its folder's, for example {@code transformer}
   * @param part what it takes turns with others as; null if it always stays loaded
   * @param bytes what it takes
   */
  public record Component(String name, @Nullable String part, long bytes) {}

  /**
   * A component whose weights are used where they lie, if they have the type and the backend reads
   * the host's memory.
   *
   * @param used which of its tensors are loaded
   */
  public static Component mapped(
      ModelIndex index,
      String name,
      @Nullable String part,
      ScalarType dtype,
      Backend backend,
      Predicate<TensorInfo> used) {
    boolean device = backend == Backend.CUDA;
    return component(
        index,
        name,
        part,
        dtype,
        used.and(tensor -> device || tensor.bytesAs(dtype) != tensor.bytes()));
  }

  /** A component of whose weights a copy is made on every backend. */
  public static Component copied(
      ModelIndex index, String name, @Nullable String part, ScalarType dtype) {
    return component(index, name, part, dtype, tensor -> true);
  }

  private static Component component(
      ModelIndex index,
      String name,
      @Nullable String part,
      ScalarType dtype,
      Predicate<TensorInfo> counted) {
    Path folder = index.componentFolder(name);
    long bytes =
        ModelInventory.of(folder).components().stream()
            .flatMap(component -> component.tensors().stream())
            .filter(counted)
            .mapToLong(tensor -> tensor.bytesAs(dtype))
            .sum();
    return new Component(name, part, bytes);
  }

  /** With all components loaded at once. */
  public long residentBytes() {
    return components.stream().mapToLong(Component::bytes).sum();
  }

  /** At most, with the parts taking turns. */
  public long turnsBytes() {
    long always =
        components.stream().filter(c -> c.part() == null).mapToLong(Component::bytes).sum();
    return always + parts().values().stream().mapToLong(Long::longValue).max().orElse(0);
  }

  /** What the part {@code name} takes. */
  public long partBytes(String name) {
    return parts().getOrDefault(name, 0L);
  }

  private Map<String, Long> parts() {
    return components.stream()
        .filter(component -> component.part() != null)
        .collect(
            Collectors.groupingBy(
                component -> String.valueOf(component.part()),
                Collectors.summingLong(Component::bytes)));
  }
}
