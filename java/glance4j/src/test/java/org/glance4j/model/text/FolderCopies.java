package org.glance4j.model.text;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Copies of model folders, above all with one of the files a vocabulary can come from. */
public final class FolderCopies {
  private static final List<List<String>> CLIP_SOURCES =
      List.of(List.of("tokenizer.json"), List.of("vocab.json", "merges.txt"));
  private static final List<List<String>> T5_SOURCES =
      List.of(List.of("tokenizer.json"), List.of("spiece.model"));

  private FolderCopies() {}

  /** The folder itself, and a copy for each source it has. */
  static List<Path> clip(Path folder, Path temporary) {
    return variants(folder, temporary, CLIP_SOURCES);
  }

  /** As {@link #clip}, for T5. */
  static List<Path> t5(Path folder, Path temporary) {
    return variants(folder, temporary, T5_SOURCES);
  }

  /** A copy of {@code folder} without the files named. */
  public static Path copyWithout(Path folder, Path target, List<String> left) {
    try (Stream<Path> entries = Files.list(folder)) {
      Files.createDirectories(target);
      for (Path file : entries.toList()) {
        if (!left.contains(file.getFileName().toString())) {
          Files.copy(file, target.resolve(file.getFileName()));
        }
      }
      return target;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<Path> variants(Path folder, Path temporary, List<List<String>> sources) {
    List<Path> folders = new ArrayList<>(List.of(folder));
    for (List<String> source : sources) {
      if (source.stream().allMatch(name -> Files.exists(folder.resolve(name)))) {
        List<String> others =
            sources.stream().filter(s -> !s.equals(source)).flatMap(List::stream).toList();
        Path target = temporary.resolve("only " + String.join(" and ", source));
        folders.add(copyWithout(folder, target, others));
      }
    }
    return folders;
  }
}
