package org.glance4j.train;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A hash of everything that a training's result depends on, but for the machine. */
final class Fingerprint {
  /** Of a weight file its size and its first bytes, which hold its header, must do. */
  private static final int SAMPLE_BYTES = 1 << 16;

  private Fingerprint() {}

  static String of(OneSampleTrainer trainer, @Nullable BufferedImage picture) throws IOException {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      add(digest, trainer.recipe().toString());
      add(digest, trainer.dtype().toString());
      add(digest, trainer.backend().resolve().toString());
      trainer.captions().forEach(caption -> add(digest, caption));
      trainer.validationCaptions().forEach(caption -> add(digest, "validation " + caption));
      if (picture != null) {
        add(digest, picture);
      }
      addModel(digest, trainer.modelFolder(), trainer.output());
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  private static void add(MessageDigest digest, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    digest.update(ByteBuffer.allocate(Integer.BYTES).putInt(0, bytes.length));
    digest.update(bytes);
  }

  private static void add(MessageDigest digest, BufferedImage picture) {
    int width = picture.getWidth();
    int height = picture.getHeight();
    int[] rgb = picture.getRGB(0, 0, width, height, null, 0, width);
    ByteBuffer bytes = ByteBuffer.allocate((rgb.length + 2) * Integer.BYTES);
    bytes.putInt(width).putInt(height);
    bytes.asIntBuffer().put(rgb);
    digest.update(bytes.rewind());
  }

  private static void addModel(MessageDigest digest, Path folder, Path output) throws IOException {
    List<Path> files;
    try (Stream<Path> walk = Files.walk(folder)) {
      // The adapters may go into the model's folder.
      files =
          walk.filter(Files::isRegularFile)
              .filter(file -> !file.toAbsolutePath().startsWith(output.toAbsolutePath()))
              .sorted()
              .toList();
    }
    for (Path file : files) {
      String name = folder.relativize(file).toString();
      if (name.endsWith(".safetensors") || name.endsWith(".json")) {
        add(digest, name + " " + Files.size(file));
        try (InputStream in = Files.newInputStream(file)) {
          digest.update(in.readNBytes(SAMPLE_BYTES));
        }
      }
    }
  }
}
