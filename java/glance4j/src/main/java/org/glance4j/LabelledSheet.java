package org.glance4j;

import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.Image;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.List;

/** A {@link ContactSheet} with captions and row labels, being drawn. */
final class LabelledSheet {
  private static final Color INK = new Color(0x222222);
  private static final Color PALE = new Color(0x777777);
  private static final int LEAST_SIDE = 96;
  private static final int MOST_SIDE = 160;
  private static final int GAP = 6;
  private static final int MARGIN = 16;
  private static final int LABELS_AT_MOST = 240;
  private static final int CAPTION_LINES = 4;
  private static final Font LABEL = new Font(Font.SANS_SERIF, Font.PLAIN, 16);
  private static final Font SMALL = new Font(Font.SANS_SERIF, Font.PLAIN, 13);

  private final List<String> captions;
  private final List<ContactSheet.Row> rows;
  private final int cellWidth;
  private final int cellHeight;
  private final int left;
  private final int top;

  private LabelledSheet(Graphics2D measuring, List<String> captions, List<ContactSheet.Row> rows) {
    this.captions = captions;
    this.rows = rows;
    GeneratedImage first = rows.get(0).images().get(0);
    double scale = scale(first.width());
    this.cellWidth = (int) Math.round(first.width() * scale);
    this.cellHeight = (int) Math.round(first.height() * scale);
    FontMetrics label = measuring.getFontMetrics(LABEL);
    FontMetrics small = measuring.getFontMetrics(SMALL);
    int widest = 0;
    for (ContactSheet.Row row : rows) {
      widest = Math.max(widest, label.stringWidth(row.label()));
      widest = Math.max(widest, small.stringWidth(row.note()));
    }
    this.left = MARGIN + Math.min(widest, LABELS_AT_MOST) + 2 * GAP;
    int lines =
        captions.stream()
            .mapToInt(caption -> wrapped(caption, small, cellWidth, CAPTION_LINES).size())
            .max()
            .orElse(0);
    this.top = MARGIN + lines * small.getHeight() + GAP;
  }

  static BufferedImage draw(List<String> captions, List<ContactSheet.Row> rows) {
    requireFull(captions, rows);
    Graphics2D measuring = new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB).createGraphics();
    LabelledSheet sheet = new LabelledSheet(measuring, captions, rows);
    measuring.dispose();
    return sheet.draw();
  }

  private static void requireFull(List<String> captions, List<ContactSheet.Row> rows) {
    if (captions.isEmpty() || rows.isEmpty()) {
      throw new IllegalArgumentException(
          captions.size() + " captions and " + rows.size() + " rows; both must be at least 1");
    }
    for (ContactSheet.Row row : rows) {
      if (row.images().size() != captions.size()) {
        throw new IllegalArgumentException(
            "row \"%s\" has %d images for %d captions"
                .formatted(row.label(), row.images().size(), captions.size()));
      }
    }
  }

  private static double scale(int width) {
    if (width > MOST_SIDE) {
      return (double) MOST_SIDE / width;
    }
    int whole = (LEAST_SIDE + width - 1) / width;
    return whole;
  }

  private BufferedImage draw() {
    BufferedImage sheet =
        new BufferedImage(
            left + captions.size() * (cellWidth + GAP) - GAP + MARGIN,
            top + rows.size() * (cellHeight + GAP) - GAP + MARGIN,
            BufferedImage.TYPE_INT_RGB);
    Graphics2D g = sheet.createGraphics();
    g.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    g.setColor(Color.WHITE);
    g.fillRect(0, 0, sheet.getWidth(), sheet.getHeight());
    for (int i = 0; i < captions.size(); i++) {
      caption(g, captions.get(i), left + i * (cellWidth + GAP));
    }
    for (int i = 0; i < rows.size(); i++) {
      row(g, rows.get(i), top + i * (cellHeight + GAP));
    }
    g.dispose();
    return sheet;
  }

  /** The last line stands on the pictures. */
  private void caption(Graphics2D g, String caption, int x) {
    g.setFont(SMALL);
    g.setColor(INK);
    FontMetrics metrics = g.getFontMetrics();
    List<String> lines = wrapped(caption, metrics, cellWidth, CAPTION_LINES);
    int y = top - GAP - metrics.getDescent() - (lines.size() - 1) * metrics.getHeight();
    for (String line : lines) {
      g.drawString(line, x + (cellWidth - metrics.stringWidth(line)) / 2, y);
      y += metrics.getHeight();
    }
  }

  private void row(Graphics2D g, ContactSheet.Row row, int y) {
    int width = left - MARGIN - 2 * GAP;
    FontMetrics label = g.getFontMetrics(LABEL);
    FontMetrics small = g.getFontMetrics(SMALL);
    List<String> names = wrapped(row.label(), label, width, 3);
    List<String> notes = wrapped(row.note(), small, width, 2);
    int height = names.size() * label.getHeight() + notes.size() * small.getHeight();
    int at = y + (cellHeight - height) / 2;
    g.setColor(INK);
    at = lines(g, LABEL, names, at);
    g.setColor(PALE);
    lines(g, SMALL, notes, at);
    for (int i = 0; i < row.images().size(); i++) {
      g.drawImage(scaled(row.images().get(i)), left + i * (cellWidth + GAP), y, null);
    }
  }

  /** Right-aligned, towards the pictures. */
  private int lines(Graphics2D g, Font font, List<String> lines, int top) {
    g.setFont(font);
    FontMetrics metrics = g.getFontMetrics();
    int y = top;
    for (String line : lines) {
      g.drawString(line, left - 2 * GAP - metrics.stringWidth(line), y + metrics.getAscent());
      y += metrics.getHeight();
    }
    return y;
  }

  private Image scaled(GeneratedImage image) {
    int how = image.width() < cellWidth ? Image.SCALE_REPLICATE : Image.SCALE_AREA_AVERAGING;
    return image.width() == cellWidth
        ? image.toBufferedImage()
        : image.toBufferedImage().getScaledInstance(cellWidth, cellHeight, how);
  }

  /** The words of a text in lines of at most {@code width} pixels; what is too much is cut. */
  static List<String> wrapped(String text, FontMetrics metrics, int width, int most) {
    List<String> lines = new ArrayList<>();
    String line = "";
    for (String word : text.strip().split("\\s+", -1)) {
      String longer = line.isEmpty() ? word : line + " " + word;
      if (line.isEmpty() || metrics.stringWidth(longer) <= width) {
        line = longer;
      } else {
        lines.add(line);
        line = word;
      }
    }
    if (!line.isEmpty()) {
      lines.add(line);
    }
    if (lines.size() > most) {
      String rest = lines.get(most - 1) + "…";
      lines = new ArrayList<>(lines.subList(0, most - 1));
      lines.add(rest);
    }
    lines.replaceAll(one -> cut(one, metrics, width));
    return lines;
  }

  private static String cut(String line, FontMetrics metrics, int width) {
    String cut = line;
    for (int length = line.length() - 1; length > 0 && metrics.stringWidth(cut) > width; length--) {
      cut = line.substring(0, length) + "…";
    }
    return cut;
  }
}
