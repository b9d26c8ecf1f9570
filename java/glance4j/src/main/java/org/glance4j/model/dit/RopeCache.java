package org.glance4j.model.dit;

import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.glance4j.kernel.Backend;

/** The rotations of the sizes used last. Thread-safe. */
public final class RopeCache implements AutoCloseable {
  /** How a model numbers its tokens. */
  @FunctionalInterface
  public interface Numbering {
    /** The rotations of {@code textTokens} text tokens followed by the image tokens. */
    Rope rotations(int textTokens, PackedLatents size);
  }

  /** One size takes 2 MB at 1024 x 1024. */
  private static final int SIZES = 16;

  private record Key(int textTokens, int rows, int columns) {}

  private final Numbering numbering;
  private final Backend backend;

  /** What falls out is left to the garbage collector: another thread may be computing with it. */
  private final Map<Key, Rope> ropes =
      new LinkedHashMap<>(SIZES, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Rope> eldest) {
          return size() > SIZES;
        }
      };

  /**
   * @param backend where the rotations are read
   */
  public RopeCache(Numbering numbering, Backend backend) {
    this.numbering = numbering;
    this.backend = backend;
  }

  /** The rotations of one size, which belong to this cache. */
  public synchronized Rope get(int textTokens, PackedLatents size) {
    return ropes.computeIfAbsent(
        new Key(textTokens, size.rows(), size.columns()), key -> make(textTokens, size));
  }

  private Rope make(int textTokens, PackedLatents size) {
    try (PointerScope scope = new PointerScope()) {
      return numbering.rotations(textTokens, size).on(backend).retain();
    }
  }

  @Override
  public synchronized void close() {
    ropes.values().forEach(Rope::close);
    ropes.clear();
  }
}
