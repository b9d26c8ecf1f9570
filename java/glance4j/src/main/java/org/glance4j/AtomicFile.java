package org.glance4j;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/** Writes files that are either whole or not there. */
public final class AtomicFile {
  private AtomicFile() {}

  /** What fills a file. */
  @FunctionalInterface
  public interface Content {
    /** Writes everything to {@code out}. */
    void writeTo(OutputStream out) throws IOException;
  }

  /**
   * Fails, saying the fix, if {@code target} cannot be written: worth asking before the work whose
   * result goes there.
   */
  public static void requireWritable(Path target) throws IOException {
    Path file = resolve(target);
    if (isDevice(file)) {
      return;
    }
    Path folder = folderOf(file);
    Path probe = temporaryIn(folder);
    try {
      Files.createFile(probe);
    } catch (IOException e) {
      throw new IOException(folder + " cannot be written to; choose another output file", e);
    } finally {
      deleteQuietly(probe);
    }
  }

  /**
   * Writes {@code content} beside {@code target} and then moves it there, so that a full disk, an
   * error or a stopped process never leaves half a file under the target's name.
   */
  public static void write(Path target, Content content) throws IOException {
    Path file = resolve(target);
    if (isDevice(file)) {
      writeAll(file, content);
      return;
    }
    Path temporary = temporaryIn(folderOf(file));
    Thread cleaner = new Thread(() -> deleteQuietly(temporary));
    Runtime.getRuntime().addShutdownHook(cleaner);
    try {
      writeAll(temporary, content);
      move(temporary, file);
    } catch (IOException e) {
      throw new IOException(target + " could not be written: " + e.getMessage(), e);
    } finally {
      deleteQuietly(temporary);
      removeHook(cleaner);
    }
  }

  private static void writeAll(Path file, Content content) throws IOException {
    try (OutputStream out =
        new BufferedOutputStream(
            Files.newOutputStream(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE))) {
      content.writeTo(out);
    }
  }

  /** Follows links to files, so that writing to one replaces what it points to. */
  private static Path resolve(Path target) throws IOException {
    if (Files.isDirectory(target)) {
      throw new IOException(target + " is a folder; name a file in it");
    }
    boolean file = Files.isRegularFile(target);
    if (file && !Files.isWritable(target)) {
      throw new IOException(target + " may not be written; change its permissions");
    }
    return file ? target.toRealPath() : target.toAbsolutePath();
  }

  /** A pipe or device is written in place: a move would replace it. */
  private static boolean isDevice(Path file) {
    return Files.exists(file) && !Files.isRegularFile(file);
  }

  private static Path folderOf(Path file) throws IOException {
    Path folder = file.getParent();
    if (folder == null || !Files.isDirectory(folder)) {
      throw new IOException("folder " + folder + " does not exist; create it first (mkdir -p)");
    }
    return folder;
  }

  private static Path temporaryIn(Path folder) {
    return folder.resolve(".glance-" + UUID.randomUUID() + ".part");
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // Nothing more can be done; the name marks it as a left-over.
    }
  }

  private static void removeHook(Thread hook) {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The JVM is going down and runs the hook itself.
    }
  }
}
