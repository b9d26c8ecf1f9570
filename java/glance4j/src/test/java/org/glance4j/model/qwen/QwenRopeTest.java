package org.glance4j.model.qwen;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Every table of rotations that the manifest lists, at the size that it names. */
class QwenRopeTest {
  private static final double TOLERANCE = 1e-6;

  /** Groups: rows, columns, text tokens. */
  private static final Pattern CALL =
      Pattern.compile("pos_embed\\(\\[\\[\\(1, ?(\\d+), ?(\\d+)\\).*?(\\d+)\\)\\[0]");

  private static final Pattern ROWS = Pattern.compile("rows \\[([0-9, ]+)]");

  @TestFactory
  List<DynamicTest> rotationsAreTheReferences() {
    assumeTrue(Reference.hasGoldens("qwen_transformer"));
    List<DynamicTest> tests = new ArrayList<>();
    try (Goldens goldens = Reference.goldens("qwen_transformer")) {
      for (String name : goldens.names()) {
        Matcher call = CALL.matcher(call(goldens, name));
        if (name.startsWith("rope_") && name.endsWith("_cos") && call.find()) {
          int rows = Integer.parseInt(call.group(1));
          int columns = Integer.parseInt(call.group(2));
          int textTokens = Integer.parseInt(call.group(3));
          PackedLatents size = new PackedLatents(16, 2 * rows, 2 * columns);
          tests.add(DynamicTest.dynamicTest(name, () -> compare(name, textTokens, size)));
        }
      }
    }
    assertFalse(tests.isEmpty());
    return tests;
  }

  private static String call(Goldens goldens, String name) {
    return goldens.entry().path("tensors").path(name).path("call").asText();
  }

  private static void compare(String imageCos, int textTokens, PackedLatents size) {
    try (Goldens goldens = Reference.goldens("qwen_transformer");
        PointerScope scope = new PointerScope()) {
      List<Integer> axes =
          QwenConfig.read(Reference.path("qwen-image-tiny-random/transformer/config.json"))
              .ropeAxes();
      Tensor rotation = torch.view_as_real(QwenRope.of(textTokens, size, axes).rotation());
      Tensor text = rotation.narrow(0, 0, textTokens);
      Tensor image = rows(call(goldens, imageCos), rotation.narrow(0, textTokens, size.tokens()));
      String imageSin = imageCos.replace("_cos", "_sin");
      String textCos = imageCos.replaceFirst("img(_angle)?", "txt");
      String textSin = imageSin.replaceFirst("img(_angle)?", "txt");
      assertClose(imageCos, goldens.get(imageCos), image.select(2, 0), TOLERANCE);
      assertClose(imageSin, goldens.get(imageSin), image.select(2, 1), TOLERANCE);
      assertClose(textCos, goldens.get(textCos), text.select(2, 0), TOLERANCE);
      assertClose(textSin, goldens.get(textSin), text.select(2, 1), TOLERANCE);
    }
  }

  /** Those rows of the table that the reference has. */
  private static Tensor rows(String call, Tensor all) {
    Matcher chosen = ROWS.matcher(call);
    if (!chosen.find()) {
      return all;
    }
    long[] rows =
        Arrays.stream(chosen.group(1).split(", *", -1)).mapToLong(Long::parseLong).toArray();
    return all.index_select(0, torch.tensor(rows));
  }
}
