package org.glance4j.model.qwen;

import static org.glance4j.reference.TensorAssert.assertClose;
import static org.glance4j.reference.TensorAssert.assertExact;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.TestFamily;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.Cfg;
import org.glance4j.lora.LinearShape;
import org.glance4j.lora.LoraAdapter;
import org.glance4j.lora.LoraPair;
import org.glance4j.model.ImageSize;
import org.glance4j.model.LoadOptions;
import org.glance4j.model.MemoryNeeds;
import org.glance4j.model.PictureLatents;
import org.glance4j.model.TestAdapters;
import org.glance4j.model.dit.PackedLatents;
import org.glance4j.reference.Goldens;
import org.glance4j.reference.Reference;
import org.glance4j.weights.ModelInventory;
import org.glance4j.weights.TensorInfo;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What generation, training and planning ask of a model. */
class QwenModelTest {
  private static final Path FOLDER = TestFamily.QWEN.model();
  private static final Pattern SEED = Pattern.compile("manual_seed\\((\\d+)\\)");

  private static QwenModel model;

  @BeforeAll
  static void open() {
    assumeTrue(Files.isDirectory(FOLDER), "no Qwen-Image in this reference folder");
    model = QwenModel.open(FOLDER, new LoadOptions(ScalarType.Float, Backend.TORCH, true));
  }

  @AfterAll
  static void close() {
    if (model != null) {
      model.close();
    }
  }

  /** The default is 128 latent pixels a side; a token is 2 x 2 of them. */
  @Test
  void sizesFollowFromTheVae() {
    assumeTrue(Reference.hasGoldens("qwen_vae"));
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_vae")) {
      Tensor mean = goldens.get("encode.mean");
      ImageSize size = size(goldens.get("image_uint8"));
      int scale = size.height() / (int) mean.size(3);
      assertEquals(2 * scale, model.sizeMultiple());
      assertEquals(new ImageSize(128 * scale, 128 * scale), model.defaultSize());
      assertEquals(64 * 64, model.imageTokens(model.defaultSize()));
      assertEquals(4 * mean.size(1), model.latentChannels());
    }
    assertEquals(512, model.defaultTextTokens());
    assertEquals(1024, model.maxTextTokens());
  }

  /** A folder is asked before it is opened; what it says then must hold. */
  @Test
  void theFolderSaysTheSameUnopened() {
    QwenFamily family = new QwenFamily();
    ImageSize size = model.defaultSize();
    assertEquals(size, family.defaultSize(FOLDER));
    assertEquals(
        family.workspaceBytes(FOLDER, size, 2, 10), model.workspaceBytes(size, 2, 10), "workspace");
    assertEquals(0, model.pendingBytes());
  }

  /** The seed is in the call that made the reference's picture. */
  @Test
  void noiseIsTheReferences() {
    assumeTrue(Reference.hasGoldens("qwen_generate"));
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_generate")) {
      Matcher seed = SEED.matcher(goldens.entry().path("call").asText());
      assumeTrue(seed.find(), "the manifest names no seed");
      Tensor expected = goldens.get("init_latents_packed");
      ImageSize size = size(goldens.get("image_uint8").select(0, 0));
      Tensor noise = model.noise(Long.parseLong(seed.group(1)), size);
      assertExact("noise", expected.narrow(0, 0, 1), noise);
      assertEquals(expected.size(1), model.imageTokens(size));
      assertEquals(expected.size(2), model.latentChannels());
    }
  }

  /** Exactly the linears of the reference's adapters, each of their shape. */
  @Test
  void namesTheLinearsOfTheRecipe() {
    assumeTrue(Files.exists(TestFamily.QWEN.adapter("slow.metadata.safetensors")));
    List<String> targets = model.glanceTargets();
    try (LoraAdapter adapter = TestAdapters.load("qwen", "slow")) {
      assertEquals(adapter.pairs().keySet(), Set.copyOf(targets));
      assertEquals(adapter.pairs().size(), targets.size(), "each once");
      for (Map.Entry<String, LoraPair> entry : adapter.pairs().entrySet()) {
        LoraPair pair = entry.getValue();
        LinearShape shape = new LinearShape(pair.down().size(1), pair.up().size(0));
        assertEquals(shape, model.linears().get(entry.getKey()), entry.getKey());
      }
    }
    assertEquals(model.linears().keySet().stream().filter(targets::contains).toList(), targets);
  }

  /** Against the reference's VAE, with the noise it drew; then back to pixels. */
  @Test
  void encodesPicturesAndDecodesThem() {
    assumeTrue(Reference.hasGoldens("qwen_vae"));
    try (PointerScope scope = new PointerScope();
        Goldens goldens = Reference.goldens("qwen_vae");
        PictureLatents latents = model.encode(goldens.get("image_uint8"))) {
      Tensor mean = oneFrame(goldens, "encode.mean");
      PackedLatents layout =
          new PackedLatents((int) mean.size(1), (int) mean.size(2), (int) mean.size(3));
      assertEquals(layout.tokens(), model.imageTokens(latents.size()));
      assertClose("mean", layout.pack(mean), latents.mean(), 1e-5);
      Tensor mode = layout.pack(oneFrame(goldens, "latent_scaled"));
      assertClose("mode", mode, latents.mode(), 1e-5);

      Tensor packed = latents.sample(layout.pack(oneFrame(goldens, "encode.noise")));
      Tensor sample = layout.pack(oneFrame(goldens, "encode.sample"));
      Tensor expected = sample.sub(latents.shift()).mul(latents.scaling());
      assertClose("sample", expected, packed, 1e-5);

      byte[] decoded = model.decode(latents.mode(), latents.size());
      assertEquals(goldens.get("image_uint8").numel(), decoded.length);
    }
  }

  /** Without the axis of a video's frames. */
  private static Tensor oneFrame(Goldens goldens, String name) {
    return goldens.get(name).squeeze(2);
  }

  private static ImageSize size(Tensor picture) {
    return new ImageSize((int) picture.size(1), (int) picture.size(0));
  }

  @Test
  void guidanceKeepsTheNorm() {
    assertEquals(Cfg.rescaled(4), model.cfg(4));
    assertEquals(Cfg.NONE, model.cfg(1));
    assertEquals(Cfg.NONE, model.cfg(0.5));
  }

  @Test
  void theEmptyPromptIsTheReferences() {
    assumeTrue(Reference.hasGoldens("qwen_generate"));
    try (Goldens goldens = Reference.goldens("qwen_generate")) {
      assertEquals(goldens.entry().path("negative_prompt").asText(), model.emptyPrompt());
    }
  }

  /** The text encoder's files hold more than is loaded of them. */
  @Test
  void memoryLeavesOutWhatIsNotRead() {
    Predicate<TensorInfo> unread =
        tensor -> tensor.name().contains("visual.") || tensor.name().startsWith("lm_head.");
    assumeTrue(elements("text_encoder", unread) > 0, "a text encoder without the unread parts");
    MemoryNeeds device = memory(ScalarType.Float, Backend.CUDA);
    assertEquals(
        List.of("text_encoder", "transformer", "vae"),
        device.components().stream().map(MemoryNeeds.Component::name).toList());
    long text = elements("text_encoder", unread.negate());
    long transformer = elements("transformer", tensor -> true);
    long vae = elements("vae", tensor -> true);
    assertEquals(Float.BYTES * text, device.partBytes("text"));
    assertEquals(Float.BYTES * transformer, device.partBytes("transformer"));
    assertEquals(Float.BYTES * (text + transformer + vae), device.residentBytes());
  }

  /** Only weights that are converted take memory of their own on the CPU. */
  @Test
  void partsTakingTurnsNeedLess() {
    assumeTrue(
        inventory("text_encoder").bytes() == inventory("text_encoder").bytesAs(ScalarType.Float),
        "files of f32");
    MemoryNeeds mapped = memory(ScalarType.Float, Backend.CPU);
    assertEquals(0, mapped.partBytes("text"));
    assertEquals(mapped.residentBytes(), mapped.turnsBytes());

    MemoryNeeds converted = memory(ScalarType.BFloat16, Backend.CPU);
    long smaller = Math.min(converted.partBytes("text"), converted.partBytes("transformer"));
    assertTrue(smaller > 0, "both parts take memory");
    assertEquals(converted.residentBytes() - smaller, converted.turnsBytes());
  }

  private static MemoryNeeds memory(ScalarType dtype, Backend backend) {
    return new QwenFamily().memory(FOLDER, dtype, backend);
  }

  private static ModelInventory inventory(String component) {
    return ModelInventory.of(FOLDER.resolve(component));
  }

  private static long elements(String component, Predicate<TensorInfo> which) {
    return inventory(component).components().stream()
        .flatMap(part -> part.tensors().stream())
        .filter(which)
        .mapToLong(TensorInfo::elements)
        .sum();
  }
}
