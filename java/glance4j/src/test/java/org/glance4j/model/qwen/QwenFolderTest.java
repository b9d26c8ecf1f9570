package org.glance4j.model.qwen;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Stream;
import org.glance4j.DType;
import org.glance4j.Glance;
import org.glance4j.GlanceOptions;
import org.glance4j.ImageModels;
import org.glance4j.ModelFormatException;
import org.glance4j.TestFamily;
import org.glance4j.kernel.Backend;
import org.glance4j.model.TestFolders;
import org.glance4j.weights.ConfigFile;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Model folders with one mistake in them: refused when they are loaded, with what is wrong. */
class QwenFolderTest {
  private static final String BEGIN = "<|im_start|>";
  private static final String INDEX = ".safetensors.index.json";

  @TempDir Path folder;

  /** Makes the mistake in a folder; gives words that the error must have. */
  private interface Mistake extends Function<Path, List<String>> {}

  @BeforeEach
  void copy() {
    Path model = TestFamily.QWEN.model();
    assumeTrue(Files.isDirectory(model), "no Qwen-Image in this reference folder");
    TestFolders.copyTree(model, folder);
  }

  @Test
  void theCopyIsSound() {
    load();
  }

  private void load() {
    ImageModels.open(folder, DType.F32, Backend.CPU, null).close();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource({"weights", "classes", "tokenizers", "sizes"})
  void refuses(String name, Mistake mistake) {
    List<String> words = new ArrayList<>(mistake.apply(folder));
    words.add(folder.toString());
    assertError(ModelFormatException.class, this::load, words.toArray(new String[0]));
  }

  static Stream<Arguments> weights() {
    return Stream.of(
        mistake("a shard of the transformer is missing", f -> deleteShard(f, "transformer")),
        mistake("a shard of the text encoder is missing", f -> deleteShard(f, "text_encoder")),
        mistake(
            "the transformer's index names a shard that is not there",
            f -> renameShard(f, "transformer")),
        mistake(
            "the text encoder's index names a shard that is not there",
            f -> renameShard(f, "text_encoder")),
        mistake(
            "the transformer's index puts a tensor into another shard",
            f -> swapShard(f, "transformer")),
        mistake("the transformer has no index", f -> deleteIndex(f, "transformer")),
        mistake("the VAE has no weights", QwenFolderTest::deleteVaeWeights));
  }

  static Stream<Arguments> classes() {
    return Stream.of(
        otherClass("transformer", "FluxTransformer2DModel", "QwenImageTransformer2DModel"),
        otherClass("vae", "AutoencoderKL", "AutoencoderKLQwenImage"),
        otherClass("scheduler", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler"),
        otherComponent("transformer", "diffusers", "FluxTransformer2DModel"),
        otherComponent("text_encoder", "transformers", "CLIPTextModel"),
        otherComponent("tokenizer", "transformers", "CLIPTokenizer"),
        otherComponent("vae", "diffusers", "AutoencoderKL"),
        otherComponent("text_encoder_2", "transformers", "T5EncoderModel"),
        mistake(
            "another kind of text encoder",
            edit(
                "text_encoder/config.json",
                json -> json.put("model_type", "qwen2_vl"),
                "model_type",
                "\"qwen2_vl\"",
                "qwen2_5_vl")),
        mistake(
            "another pipeline",
            edit(
                "model_index.json",
                json -> json.put("_class_name", "QwenImageEditPipeline"),
                "_class_name",
                "QwenImageEditPipeline",
                "QwenImagePipeline")),
        mistake(
            "no VAE in the index",
            edit(
                "model_index.json",
                json -> json.remove("vae"),
                "vae: is missing",
                "AutoencoderKLQwenImage")),
        missing("vae", "no such folder", "copy the model whole"),
        missing("scheduler/scheduler_config.json", "no such file"),
        missing("text_encoder/config.json", "no such file"));
  }

  static Stream<Arguments> tokenizers() {
    return Stream.of(
        mistake("no token that begins a message", QwenFolderTest::renameBegin),
        mistake("no vocabulary", f -> deleteVocabulary(f, "vocab.json")),
        mistake("no merges", f -> deleteVocabulary(f, "merges.txt")),
        missing("tokenizer", "no such folder"));
  }

  static Stream<Arguments> sizes() {
    return Stream.of(
        mistake("text of another width", QwenFolderTest::widenText),
        mistake("latents of other channels", QwenFolderTest::halveLatents),
        mistake(
            "other latent channels in the VAE's configuration alone",
            edit("vae/config.json", json -> json.put("z_dim", 1), "latents_mean", "z_dim")),
        negative("transformer", "num_layers"),
        negative("transformer", "num_attention_heads"),
        negative("transformer", "joint_attention_dim"),
        negative("vae", "num_res_blocks"),
        negative("vae", "base_dim"),
        mistake(
            "a negative number of layers of text",
            edit(
                "text_encoder/config.json",
                json -> text(json).put("num_hidden_layers", -1),
                "num_hidden_layers",
                "-1",
                "at least 1")),
        mistake(
            "a layer of text that the files do not have",
            edit(
                "text_encoder/config.json",
                json -> {
                  text(json).put("num_hidden_layers", 1000);
                  text(json).remove("layer_types");
                },
                "layers.",
                "is missing")),
        mistake(
            "a last sigma above 1",
            edit(
                "scheduler/scheduler_config.json",
                json -> json.put("shift_terminal", 1.5),
                "shift_terminal",
                "1.5")));
  }

  /** Most linears of the two families have other names; the message lists those. */
  @ParameterizedTest
  @EnumSource
  void refusesTheOtherFamilysAdapter(TestFamily family) {
    TestFamily other = family == TestFamily.FLUX ? TestFamily.QWEN : TestFamily.FLUX;
    Path adapter = other.adapter("slow.metadata.safetensors");
    assumeTrue(Files.exists(adapter) && Files.isDirectory(family.model()));
    GlanceOptions options = GlanceOptions.builder().slowLora(adapter).build();
    assertError(
        ModelFormatException.class,
        () -> Glance.load(family.model(), options).close(),
        adapter.toString(),
        "the model has no linears called",
        other == TestFamily.FLUX
            ? "single_transformer_blocks.0.attn.to_q"
            : "transformer_blocks.0.img_mod.1");
  }

  private static Arguments mistake(String name, Mistake mistake) {
    return Arguments.of(name, mistake);
  }

  private static Mistake edit(String file, Consumer<ObjectNode> edit, String... words) {
    return folder -> {
      TestFolders.editJson(folder.resolve(file), edit);
      return List.of(words);
    };
  }

  private static Arguments missing(String path, String... words) {
    return mistake(
        path + " is missing",
        folder -> {
          TestFolders.delete(folder.resolve(path));
          return Stream.concat(Stream.of(path), Stream.of(words)).toList();
        });
  }

  private static Arguments otherClass(String component, String found, String expected) {
    String file =
        component + (component.equals("scheduler") ? "/scheduler_config.json" : "/config.json");
    return mistake(
        component + " is configured as " + found,
        edit(
            file,
            json -> json.put("_class_name", found),
            file,
            "_class_name",
            "\"" + found + "\" is not supported; expected " + expected));
  }

  private static Arguments otherComponent(String name, String library, String found) {
    return mistake(
        name + " is named as " + found,
        edit(
            "model_index.json",
            json -> json.putArray(name).add(library).add(found),
            "model_index.json: " + name + ": ",
            "expected"));
  }

  private static Arguments negative(String component, String key) {
    return mistake(
        component + " with a negative " + key,
        edit(
            component + "/config.json",
            json -> json.put(key, -1),
            component + "/config.json: " + key + ": -1 is not an integer of at least 1"));
  }

  /** The object that describes the text half. */
  private static ObjectNode text(ObjectNode json) {
    return json.get("text_config") instanceof ObjectNode inner ? inner : json;
  }

  private static Path shard(Path folder, String component) {
    List<Path> shards = TestFolders.filesIn(folder.resolve(component), ".safetensors");
    assumeTrue(shards.size() > 1, "a component in one file");
    return shards.get(shards.size() - 1);
  }

  private static Path index(Path folder, String component) {
    List<Path> indexes = TestFolders.filesIn(folder.resolve(component), INDEX);
    assumeTrue(!indexes.isEmpty(), "a component in one file");
    return indexes.get(0);
  }

  private static List<String> deleteShard(Path folder, String component) {
    Path shard = shard(folder, component);
    TestFolders.delete(shard);
    return List.of(component, name(shard), "it is not there");
  }

  private static List<String> renameShard(Path folder, String component) {
    return assignFirst(folder, component, "other.safetensors", "it is not there");
  }

  /** Says that the first tensor is in the last shard. */
  private static List<String> swapShard(Path folder, String component) {
    return assignFirst(folder, component, name(shard(folder, component)), "says it is in");
  }

  private static List<String> assignFirst(
      Path folder, String component, String shard, String word) {
    Path index = index(folder, component);
    String tensor = ConfigFile.read(index).stringMap("weight_map").keySet().iterator().next();
    TestFolders.editJson(index, json -> json.withObject("weight_map").put(tensor, shard));
    return List.of(component, shard, word);
  }

  private static List<String> deleteIndex(Path folder, String component) {
    TestFolders.delete(index(folder, component));
    return List.of(component, "download the missing file");
  }

  private static List<String> deleteVaeWeights(Path folder) {
    TestFolders.filesIn(folder.resolve("vae"), ".safetensors").forEach(TestFolders::delete);
    return List.of("vae: weights: none there", "copy the model whole");
  }

  private static List<String> renameBegin(Path folder) {
    AtomicInteger changed = new AtomicInteger();
    for (Path file : TestFolders.filesIn(folder.resolve("tokenizer"), ".json")) {
      replace(file, BEGIN, "<|other|>", changed);
    }
    assumeTrue(changed.get() > 0, "a tokenizer without " + BEGIN);
    return List.of("tokenizer", BEGIN, "is not among the added tokens");
  }

  private static void replace(Path file, String from, String to, AtomicInteger changed) {
    try {
      String text = Files.readString(file);
      if (text.contains(from)) {
        Files.writeString(file, text.replace(from, to));
        changed.incrementAndGet();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** One of the two files that do for a {@code tokenizer.json}. */
  private static List<String> deleteVocabulary(Path folder, String file) {
    Path tokenizer = folder.resolve("tokenizer");
    assumeTrue(Files.exists(tokenizer.resolve(file)), "a tokenizer without " + file);
    Path whole = tokenizer.resolve("tokenizer.json");
    if (Files.exists(whole)) {
      TestFolders.delete(whole);
    }
    TestFolders.delete(tokenizer.resolve(file));
    return List.of("tokenizer: holds no tokenizer", file);
  }

  /** The transformer itself is sound, but made for another text encoder. */
  private static List<String> widenText(Path folder) {
    Path transformer = folder.resolve("transformer");
    int width = QwenConfig.read(transformer.resolve("config.json")).contextDim();
    TestFolders.setConfig(transformer, "joint_attention_dim", String.valueOf(width + 8));
    TestFolders.resize(transformer, Map.of("txt_norm.weight", 0, "txt_in.weight", 1), width + 8);
    return List.of(
        "transformer joint_attention_dim: "
            + (width + 8)
            + " differs from the text encoder's width "
            + width);
  }

  /** The transformer itself is sound, but made for another VAE. */
  private static List<String> halveLatents(Path folder) {
    Path transformer = folder.resolve("transformer");
    QwenConfig config = QwenConfig.read(transformer.resolve("config.json"));
    int half = config.latentChannels() / 2;
    TestFolders.setConfig(transformer, "in_channels", String.valueOf(config.inChannels() / 2));
    TestFolders.setConfig(transformer, "out_channels", String.valueOf(half));
    TestFolders.resize(
        transformer,
        Map.of("img_in.weight", 1, "proj_out.weight", 0, "proj_out.bias", 0),
        config.inChannels() / 2);
    return List.of(
        "transformer in_channels / 4: "
            + half
            + " differs from the VAE's latent channels "
            + config.latentChannels());
  }

  private static String name(Path file) {
    return String.valueOf(file.getFileName());
  }
}
