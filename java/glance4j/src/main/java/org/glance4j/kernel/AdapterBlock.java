package org.glance4j.kernel;

import java.util.List;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.Tensor;
import org.glance4j.kernel.jni.Adapter;
import org.glance4j.kernel.jni.AdapterTable;
import org.glance4j.kernel.jni.Segment;
import org.jspecify.annotations.Nullable;

/** Memory for the adapters of a call, and its filling. One for each thread and operation. */
final class AdapterBlock {
  private final AdapterTable table;
  private final Adapter adapters = NativeCall.keep(new Adapter(LoraMatmul.MAX_ADAPTERS));
  private Segment segments = NativeCall.keep(new Segment(1));
  private int capacity = 1;

  /**
   * @param table the part of an argument block that points here; its block must be kept
   */
  AdapterBlock(AdapterTable table) {
    this.table = table;
    table.adapters(adapters);
    table.segments(segments);
  }

  void fill(
      List<LoraMatmul.Adapter> values,
      List<LoraMatmul.Segment> ranges,
      @Nullable Tensor selection) {
    table.selection(selection == null ? null : new IntPointer(selection.data_ptr()));
    table.adapter_count(values.size());
    table.segment_count(ranges.size());
    for (int i = 0; i < values.size(); i++) {
      LoraMatmul.Adapter value = values.get(i);
      adapters.position(i);
      adapters.down(value.down().matrix());
      adapters.scale(value.scale());
      adapters.reserved(0);
    }
    reserve(ranges.size());
    for (int i = 0; i < ranges.size(); i++) {
      LoraMatmul.Segment range = ranges.get(i);
      segments.position(i);
      segments.begin(range.begin());
      segments.end(range.end());
      segments.adapter(range.adapter());
      segments.reserved(0);
    }
  }

  private void reserve(int count) {
    if (count > capacity) {
      capacity = count;
      segments.close();
      segments = NativeCall.keep(new Segment(count));
      table.segments(segments);
    }
  }
}
