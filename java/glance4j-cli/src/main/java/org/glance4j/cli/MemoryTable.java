package org.glance4j.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;
import java.util.function.ToLongFunction;
import org.glance4j.DType;
import org.glance4j.HostMemory;
import org.glance4j.ImageModels;
import org.glance4j.ModelFormatException;
import org.glance4j.cuda.CudaDevice;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.NativeLibrary;
import org.glance4j.model.ImageSize;
import org.glance4j.model.MemoryNeeds;

/** What memory a model needs, and what there is. Reads headers only. */
final class MemoryTable {
  /** The needs of one way of loading the model. */
  private record Column(String title, MemoryNeeds needs) {}

  private MemoryTable() {}

  static void print(PrintWriter out, Path model) {
    try {
      List<Column> columns = columns(model);
      ImageSize size = ImageModels.defaultSize(model);
      print(out, columns, size, ImageModels.workspaceBytes(model));
    } catch (ModelFormatException e) {
      out.println("memory: not known: " + e.getMessage());
      return;
    }
    String free = "free memory: ";
    OptionalLong host = HostMemory.availableBytes();
    if (host.isPresent()) {
      out.println(free + megabytes(host.getAsLong()) + " on the host");
    }
    if (hasCuda()) {
      CudaDevice device = CudaDevice.current();
      out.printf(
          "%s%s on CUDA device %d, %s%n",
          free, megabytes(device.freeBytes()), device.index(), device.name());
    }
  }

  private static List<Column> columns(Path model) {
    List<Column> columns = new ArrayList<>();
    for (Backend backend : hasCuda() ? List.of(Backend.CPU, Backend.CUDA) : List.of(Backend.CPU)) {
      for (DType dtype : DType.values()) {
        columns.add(new Column(backend + " " + dtype, ImageModels.memory(model, dtype, backend)));
      }
    }
    return columns;
  }

  /** Asked of the kernel library first: it loads faster than LibTorch. */
  private static boolean hasCuda() {
    return NativeLibrary.failure() == null
        && !NativeLibrary.cuda().devices().isEmpty()
        && Backend.AUTO.resolve() == Backend.CUDA;
  }

  private static void print(
      PrintWriter out, List<Column> columns, ImageSize size, long workspaceBytes) {
    out.print("memory that loading takes, beside the mapped files");
    columns.forEach(column -> out.printf(" %14s", column.title()));
    out.println();
    List<MemoryNeeds.Component> components = columns.get(0).needs().components();
    for (int i = 0; i < components.size(); i++) {
      int index = i;
      row(out, columns, components.get(i).name(), n -> n.components().get(index).bytes());
    }
    row(out, columns, "workspace, " + size + " with CFG", needs -> workspaceBytes);
    row(out, columns, "peak, all loaded at once", n -> n.residentBytes() + workspaceBytes);
    row(out, columns, "peak, parts taking turns", n -> n.turnsBytes() + workspaceBytes);
  }

  private static void row(
      PrintWriter out, List<Column> columns, String name, ToLongFunction<MemoryNeeds> bytes) {
    out.printf("  %-48s", name);
    columns.forEach(column -> out.printf(" %14s", megabytes(bytes.applyAsLong(column.needs()))));
    out.println();
  }

  private static String megabytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
  }
}
