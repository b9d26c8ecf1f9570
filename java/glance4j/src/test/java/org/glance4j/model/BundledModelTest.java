package org.glance4j.model;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.Backend;
import org.glance4j.lora.AdapterMix;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.model.flux.FluxTransformer;
import org.glance4j.model.vae.AutoencoderKl;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.ImageAssert;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Transformer and VAE of the bundled model against {@code glance-tiny} of the reference. */
@ParameterizedClass
@MethodSource("org.glance4j.kernel.TestBackends#all")
class BundledModelTest {
  @Parameter Backend backend;

  private static final Path MODEL =
      Path.of("../glance4j-tiny/src/main/resources/org/glance4j/glance-tiny");

  private static Backend where;
  private static JsonNode manifest;
  private static FluxTransformer transformer;
  private static AutoencoderKl vae;

  @BeforeParameterizedClassInvocation
  static void open(Backend backend) {
    assumeTrue(Files.exists(Reference.path("glance-tiny/manifest.json")));
    assumeTrue(Files.isDirectory(MODEL));
    manifest = Reference.readJson("glance-tiny/manifest.json");
    transformer = FluxTransformer.open(MODEL.resolve("transformer"), ScalarType.Float, backend);
    vae = AutoencoderKl.open(MODEL.resolve("vae"), backend);
    where = backend;
  }

  @AfterParameterizedClassInvocation
  static void close() {
    if (transformer != null) {
      transformer.close();
      vae.close();
    }
  }

  @TestFactory
  Stream<DynamicTest> runs() {
    return StreamSupport.stream(manifest.get("cases").spliterator(), false)
        .map(run -> DynamicTest.dynamicTest(run.get("file").asText(), () -> compare(run)));
  }

  private static void compare(JsonNode run) {
    try (Goldens prompt = open(run.get("prompt_file"));
        Goldens negative = Goldens.open(Reference.path("glance-tiny/negative.safetensors"));
        Goldens expected = open(run.get("file"));
        NoGradGuard guard = new NoGradGuard();
        PointerScope scope = new PointerScope()) {
      Tensor start = prompt.get("latents");
      PackedLatents size = size();
      Tensor noise = size.pack(size.noise(run.get("torch_seed").longValue(), 1));
      assertClose("start noise", start, noise, 0);

      Tensor timesteps = expected.get("timesteps");
      compare(prompt, negative, expected, "first", start, timesteps.select(0, 0));
      Tensor last = timesteps.select(0, timesteps.size(0) - 1);
      compare(prompt, negative, expected, "last", expected.get("x_last"), last);

      Tensor image = vae.decode(where.place(size.unpack(expected.get("latents"))));
      Tensor picture = expected.get("image");
      assertClose(
          "image",
          picture,
          ImageAssert.zeroToOne(image).reshape(picture.sizes().vec().get()),
          1e-5);
    }
  }

  /** Positive and negative prompt as one batch, or the positive one alone. */
  private static void compare(
      Goldens prompt, Goldens negative, Goldens expected, String step, Tensor x, Tensor t) {
    boolean cfg = expected.has("v_uncond_" + step);
    Tensor embeds = prompt.get("prompt_embeds");
    Tensor pooled = prompt.get("pooled_prompt_embeds");
    if (cfg) {
      embeds = torch.cat(new TensorVector(negative.get("prompt_embeds"), embeds), 0);
      pooled = torch.cat(new TensorVector(negative.get("pooled_prompt_embeds"), pooled), 0);
    }
    long batch = embeds.size(0);
    Tensor velocity =
        transformer.forward(
            where.place(x).expand(batch, -1, -1),
            where.place(embeds),
            where.place(pooled),
            where.place(t.div(new Scalar(1000))).expand(batch),
            null,
            transformer.rope((int) embeds.size(1), size()),
            AdapterMix.NONE);
    String name = "v_cond_" + step;
    assertClose(name, expected.get(name), velocity.narrow(0, batch - 1, 1), 1e-5);
    if (cfg) {
      String uncond = "v_uncond_" + step;
      assertClose(uncond, expected.get(uncond), velocity.narrow(0, 0, 1), 1e-5);
    }
  }

  private static PackedLatents size() {
    return PackedLatents.forImage(
        vae.config().latentChannels(),
        vae.config().scale(),
        manifest.get("height").intValue(),
        manifest.get("width").intValue());
  }

  private static Goldens open(JsonNode file) {
    return Goldens.open(Reference.path("glance-tiny/" + file.asText()));
  }
}
