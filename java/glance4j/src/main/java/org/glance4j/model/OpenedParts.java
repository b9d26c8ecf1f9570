package org.glance4j.model;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** What has been opened so far of something with several parts, to be closed if one fails. */
public final class OpenedParts {
  private final List<AutoCloseable> parts = new ArrayList<>();

  private OpenedParts() {}

  /** What {@code open} makes of the parts it adds; if it throws, they are closed. */
  public static <R> R all(Function<OpenedParts, R> open) {
    OpenedParts opened = new OpenedParts();
    try {
      return open.apply(opened);
    } catch (RuntimeException | Error e) {
      opened.parts.forEach(part -> closeAfter(e, part));
      throw e;
    }
  }

  private static void closeAfter(Throwable cause, AutoCloseable part) {
    try {
      part.close();
    } catch (Exception e) {
      cause.addSuppressed(e);
    }
  }

  /** Takes {@code part} in. */
  public <T extends AutoCloseable> T add(T part) {
    parts.add(part);
    return part;
  }
}
