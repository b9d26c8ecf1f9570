package org.glance4j.evaluate;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** All figures of an {@link Evaluation}. */
final class EvaluationJson {
  private EvaluationJson() {}

  static String of(Evaluation evaluation, String command) throws JsonProcessingException {
    JsonMapper mapper = new JsonMapper();
    ObjectNode root = mapper.createObjectNode();
    root.put("command", command);
    Machine machine = evaluation.machine();
    root.putObject("machine")
        .put("system", machine.system())
        .put("cores", machine.cores())
        .put("threads", machine.threads())
        .put("backend", machine.backend())
        .put("dtype", machine.dtype());
    EvaluationRequest request = evaluation.request();
    root.put("prompts", request.prompts().size());
    request.seeds().forEach(root.putArray("seeds")::add);
    if (request.pictures() != null) {
      root.put("retrieval_pictures", request.pictures().size());
    }
    method(root.putObject("reference"), evaluation.reference());
    ArrayNode methods = root.putArray("methods");
    for (MethodResult result : evaluation.methods()) {
      ObjectNode node = methods.addObject();
      method(node, result);
      evaluation.baselineOf(result).ifPresent(baseline -> gain(node, result, baseline));
    }
    return mapper.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n";
  }

  private static void method(ObjectNode node, MethodResult result) {
    Method method = result.method();
    node.put("name", method.name());
    node.put("group", method.group());
    node.put("schedule", method.schedule().toString());
    node.put("cfg", method.cfg());
    if (method.slow() != null) {
      node.put("slow", method.slow().toString());
    }
    if (method.fast() != null) {
      node.put("fast", method.fast().toString());
    }
    node.put("scale", method.scale());
    node.put("evaluations", result.evaluations());
    node.put("latent_rmse", result.latentError());
    node.put("psnr", result.psnr());
    node.put("ssim", result.ssim());
    node.put("median_seconds", result.medianSeconds());
    result.retrieval().ifPresent(share -> node.put("retrieval", share));
    ArrayNode pictures = node.putArray("pictures");
    result.pictures().forEach(picture -> picture(pictures.addObject(), picture));
  }

  private static void gain(ObjectNode node, MethodResult result, MethodResult baseline) {
    MethodResult.Difference gain = result.psnrAbove(baseline);
    ObjectNode json = node.putObject("psnr_gain");
    json.put("over", baseline.method().name());
    json.put("mean", gain.mean());
    if (!Double.isNaN(gain.error())) {
      json.put("standard_error", gain.error());
    }
  }

  private static void picture(ObjectNode node, PictureResult picture) {
    node.put("prompt", picture.prompt());
    node.put("seed", picture.seed());
    node.put("latent_rmse", picture.latentError());
    node.put("psnr", picture.psnr());
    node.put("ssim", picture.ssim());
    node.put("seconds", picture.seconds());
    if (picture.nearest() != null) {
      node.put("nearest", picture.nearest());
    }
  }
}
