package org.glance4j.model.qwen;

import static org.glance4j.reference.ErrorAssert.assertError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.ModelFormatException;
import org.glance4j.kernel.Backend;
import org.glance4j.model.TestFolders;
import org.glance4j.reference.Reference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Transformer folders whose configuration is broken or does not fit the weights. */
class QwenConfigTest {
  private static final Path GOOD = Reference.path("qwen-image-tiny-random/transformer");

  @TempDir Path folder;

  /** An error in the configuration names the key; one that only the weights show names a tensor. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "_class_name | \"FluxTransformer2DModel\" | _class_name",
        "guidance_embeds | true | guidance_embeds",
        "guidance_embeds | \"yes\" | guidance_embeds",
        "zero_cond_t | true | zero_cond_t",
        "use_additional_t_cond | true | use_additional_t_cond",
        "use_layer3d_rope | true | use_layer3d_rope",
        "patch_size | 1 | patch_size",
        "out_channels | 64 | out_channels",
        "in_channels | 63 | in_channels",
        "in_channels | 128 | out_channels",
        "num_layers | 0 | num_layers",
        "num_layers | 1 | transformer_blocks.1",
        "num_layers | 1000 | transformer_blocks",
        "num_attention_heads | \"two\" | num_attention_heads",
        "attention_head_dim | 1000 | axes_dims_rope",
        "joint_attention_dim | 1 | txt_norm",
        "axes_dims_rope | [8, 8] | axes_dims_rope",
        "axes_dims_rope | [1, 2, 13] | axes_dims_rope",
        "axes_dims_rope | 16 | axes_dims_rope",
      })
  void refuses(String key, String value, String named) {
    assumeTrue(Files.isDirectory(GOOD), "no Qwen-Image in this reference folder");
    TestFolders.copy(GOOD, folder);
    TestFolders.setConfig(folder, key, value);
    assertError(
        ModelFormatException.class,
        () -> QwenTransformer.open(folder, ScalarType.Float, Backend.TORCH).close(),
        folder.toString(),
        named);
  }

  @Test
  void missingKeysHaveThePublishedModelsValues() throws Exception {
    Path config = folder.resolve("config.json");
    Files.writeString(config, "{\"_class_name\": \"QwenImageTransformer2DModel\"}");
    QwenConfig read = QwenConfig.read(config);
    assertEquals(new QwenConfig(64, 60, 128, 24, 3584, List.of(16, 56, 56)), read);
    assertEquals(3072, read.width());
    assertEquals(722, read.modulations());
    assertEquals(16, read.latentChannels());
  }
}
