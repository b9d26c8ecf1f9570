package org.glance4j;

import java.awt.image.BufferedImage;
import java.awt.image.RenderedImage;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import javax.imageio.IIOException;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.jspecify.annotations.Nullable;
import org.w3c.dom.Node;

/** PNG with text chunks. */
public final class PngFile {
  private static final String FORMAT = "javax_imageio_png_1.0";

  private PngFile() {}

  /** Writes {@code image} with one UTF-8 text chunk (iTXt) for each entry of {@code texts}. */
  static void write(OutputStream out, RenderedImage image, Map<String, String> texts)
      throws IOException {
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    try (MemoryCacheImageOutputStream stream = new MemoryCacheImageOutputStream(out)) {
      IIOMetadata metadata = writer.getDefaultImageMetadata(new ImageTypeSpecifier(image), null);
      metadata.mergeTree(FORMAT, textTree(texts));
      writer.setOutput(stream);
      writer.write(new IIOImage(image, null, metadata));
    } finally {
      writer.dispose();
    }
  }

  /** The text under {@code keyword}, or null if the file has none. */
  static @Nullable String readText(Path file, String keyword) throws IOException {
    ImageReader reader = ImageIO.getImageReadersByFormatName("png").next();
    try (InputStream in = Files.newInputStream(file);
        ImageInputStream stream = new MemoryCacheImageInputStream(in)) {
      reader.setInput(stream, true, false);
      return findText(reader.getImageMetadata(0).getAsTree(FORMAT), keyword);
    } catch (IIOException | IndexOutOfBoundsException e) {
      throw new ModelFormatException(file + ": is not a readable PNG: " + e.getMessage(), e);
    } finally {
      reader.dispose();
    }
  }

  /**
   * The pixels of a PNG file.
   *
   * @throws ModelFormatException if the file is not a picture
   */
  public static BufferedImage readImage(Path file) throws IOException {
    // ImageIO's own error does not name the file.
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString());
    }
    BufferedImage image = ImageIO.read(file.toFile());
    if (image == null) {
      throw new ModelFormatException(file + ": is not a readable picture");
    }
    return image;
  }

  private static Node textTree(Map<String, String> texts) {
    IIOMetadataNode chunk = new IIOMetadataNode("iTXt");
    texts.forEach(
        (keyword, text) -> {
          IIOMetadataNode entry = new IIOMetadataNode("iTXtEntry");
          entry.setAttribute("keyword", keyword);
          entry.setAttribute("compressionFlag", "FALSE");
          entry.setAttribute("compressionMethod", "0");
          entry.setAttribute("languageTag", "");
          entry.setAttribute("translatedKeyword", "");
          entry.setAttribute("text", text);
          chunk.appendChild(entry);
        });
    IIOMetadataNode root = new IIOMetadataNode(FORMAT);
    root.appendChild(chunk);
    return root;
  }

  private static @Nullable String findText(Node node, String keyword) {
    if (node instanceof IIOMetadataNode entry && keyword.equals(entry.getAttribute("keyword"))) {
      // iTXt and zTXt keep the words under "text", tEXt under "value": editors convert them.
      String text = entry.getAttribute("text");
      return text.isEmpty() ? entry.getAttribute("value") : text;
    }
    for (Node child = node.getFirstChild(); child != null; child = child.getNextSibling()) {
      String text = findText(child, keyword);
      if (text != null) {
        return text;
      }
    }
    return null;
  }
}
