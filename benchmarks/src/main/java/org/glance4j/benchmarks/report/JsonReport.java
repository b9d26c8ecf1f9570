package org.glance4j.benchmarks.report;

import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import java.util.Map;
import org.glance4j.DType;
import org.glance4j.benchmarks.kernel.Contender;

/** A run's numbers for programs: every round's time, and what is derived from them. */
public final class JsonReport {
  private static final JsonMapper JSON =
      JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

  private JsonReport() {}

  /** The report. */
  public static String of(Results results) {
    ObjectNode root = JSON.createObjectNode();
    root.put("date", results.date()).put("command", results.command());
    root.set("machine", JSON.valueToTree(results.machine()));
    root.set("ceilings", ceilings(results.ceilings()));
    ArrayNode targets = root.putArray("targets");
    for (Targets.Line line : Targets.of(results)) {
      targets.add(target(line));
    }
    ArrayNode kernels = root.putArray("kernels");
    for (Measured one : results.kernels()) {
      kernels.add(measured(one).put("share_of_ceiling", results.ceilings().share(one)));
    }
    ArrayNode generate = root.putArray("generate");
    for (GenerateComparison.Result one : results.generate()) {
      generate.add(generate(one));
    }
    return root.toPrettyString();
  }

  private static ObjectNode ceilings(Ceilings ceilings) {
    ObjectNode node = JSON.createObjectNode();
    node.put("copy_bytes_per_second", ceilings.copy());
    for (DType dtype : DType.values()) {
      node.put("libtorch_flops_" + dtype, ceilings.matmul(dtype, Contender.PLAIN));
      node.put("ours_flops_" + dtype, ceilings.matmul(dtype, Contender.OURS));
    }
    ArrayNode cases = node.putArray("cases");
    ceilings.cases().forEach(one -> cases.add(measured(one)));
    return node;
  }

  private static ObjectNode target(Targets.Line line) {
    ObjectNode node = JSON.createObjectNode();
    node.put("what", line.what()).put("asked", line.asked());
    node.put("bound", line.atMost() ? "at most" : "at least").put("met", line.met());
    ObjectNode values = node.putObject("measured");
    for (int i = 0; i < line.values().size(); i++) {
      values.put(line.labels().get(i), line.values().get(i));
    }
    return node;
  }

  private static ObjectNode measured(Measured one) {
    ObjectNode node = JSON.createObjectNode();
    node.put("operation", one.name().operation());
    node.put("family", one.name().family().name().toLowerCase(Locale.ROOT));
    node.put("shape", one.name().shape());
    node.put("dtype", one.name().dtype().toString());
    node.put("rank", one.name().rank());
    node.put("flops", one.cost().flops()).put("bytes", one.cost().bytes());
    ObjectNode seconds = node.putObject("seconds");
    one.seconds().forEach((who, values) -> times(seconds, who, values));
    ObjectNode ratios = node.putObject("ratios");
    if (one.has(Contender.OURS) && one.has(Contender.PLAIN)) {
      spread(ratios, "ours/plain", one.ratio(Contender.OURS, Contender.PLAIN));
    }
    if (one.has(Contender.UNFUSED)) {
      spread(ratios, "unfused/ours", one.ratio(Contender.UNFUSED, Contender.OURS));
    }
    return node;
  }

  private static ObjectNode generate(GenerateComparison.Result one) {
    ObjectNode node = JSON.createObjectNode();
    node.put("steps", one.steps()).put("cfg", one.cfg());
    node.put("f32_levels", one.levels()).put("bf16_psnr_db", one.psnr());
    ObjectNode seconds = node.putObject("seconds");
    ObjectNode ratios = node.putObject("ratios");
    for (Map.Entry<GenerateComparison.Setting, double[]> entry : one.seconds().entrySet()) {
      times(seconds, entry.getKey(), entry.getValue());
      String ratio = "torch_f32/" + entry.getKey().name().toLowerCase(Locale.ROOT);
      spread(ratios, ratio, one.speedup(entry.getKey()));
    }
    return node;
  }

  private static void times(ObjectNode node, Enum<?> who, double[] values) {
    ArrayNode array = node.putArray(who.name().toLowerCase(Locale.ROOT));
    for (double value : values) {
      array.add(value);
    }
  }

  private static void spread(ObjectNode node, String name, Spread spread) {
    node.putObject(name)
        .put("median", spread.median())
        .put("lower_quartile", spread.lower())
        .put("upper_quartile", spread.upper());
  }
}
