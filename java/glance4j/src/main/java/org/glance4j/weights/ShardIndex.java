package org.glance4j.weights;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import org.glance4j.ModelFormatException;

/**
 * A {@code *.safetensors.index.json}: which shard holds which tensor.
 *
 * <p>Its {@code metadata.total_size} is not compared with the shards: published indexes are often
 * wrong there.
 *
 * @param file the index
 * @param shardOf the shard's file name by tensor name
 */
record ShardIndex(Path file, Map<String, String> shardOf) {
  static ShardIndex read(Path file) {
    Map<String, String> shardOf = ConfigFile.read(file).stringMap("weight_map");
    if (shardOf.isEmpty()) {
      throw ModelFormatException.in(file, "weight_map", "is empty");
    }
    return new ShardIndex(file, shardOf);
  }

  /** Reads every shard's header; index and shards must agree on every tensor. */
  WeightFiles open() {
    // All paths first: a shard that is not there explains more than where its tensors are.
    SortedMap<String, Path> paths = new TreeMap<>();
    new TreeSet<>(shardOf.values()).forEach(shard -> paths.put(shard, path(shard)));
    List<SafetensorsHeader> headers = new ArrayList<>();
    paths.forEach(
        (shard, path) -> {
          SafetensorsHeader header = SafetensorsHeader.read(path);
          requireSameTensors(shard, header);
          headers.add(header);
        });
    return new WeightFiles(file, headers);
  }

  private Path path(String shard) {
    if (shard.contains("/") || shard.contains("\\") || !shard.endsWith(".safetensors")) {
      throw ModelFormatException.in(
          file, InputFile.shorten(shard), "a shard must be a .safetensors file in the same folder");
    }
    Path path;
    try {
      path = file.resolveSibling(shard);
    } catch (InvalidPathException e) {
      throw new ModelFormatException(
          file + ": " + InputFile.shorten(shard) + ": is not a file name: " + e.getReason(), e);
    }
    if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      throw ModelFormatException.in(
          file, shard, "the index names this shard, but it is not there; download it too");
    }
    return path;
  }

  private void requireSameTensors(String shard, SafetensorsHeader header) {
    shardOf.forEach(
        (tensor, named) -> {
          if (named.equals(shard) && !header.tensors().containsKey(tensor)) {
            throw ModelFormatException.in(
                file, tensor, "is not in " + shard + ", where the index says it is");
          }
        });
    for (String tensor : header.tensors().keySet()) {
      String named = shardOf.get(tensor);
      if (named == null) {
        throw ModelFormatException.in(
            header.file(), tensor, "is not in the index " + file.getFileName());
      }
      if (!named.equals(shard)) {
        throw ModelFormatException.in(
            header.file(),
            tensor,
            "is here, but the index " + file.getFileName() + " says it is in " + named);
      }
    }
  }
}
