package org.glance4j.model.flux;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
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
class FluxConfigTest {
  private static final Path GOOD = Reference.path("flux-tiny-random/transformer");

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "_class_name | \"SD3Transformer2DModel\"",
        "patch_size | 2",
        "out_channels | 1",
        "in_channels | 63",
        "in_channels | 1.5",
        "num_layers | 0",
        "num_layers | 1",
        "num_single_layers | 1000",
        "num_attention_heads | \"two\"",
        "attention_head_dim | 1000",
        "joint_attention_dim | 1",
        "pooled_projection_dim | 1",
        "guidance_embeds | \"yes\"",
        "axes_dims_rope | [8, 8]",
        "axes_dims_rope | [1, 2, 3]",
        "axes_dims_rope | 32",
      })
  void refuses(String key, String value) {
    TestFolders.copy(GOOD, folder);
    TestFolders.setConfig(folder, key, value);
    assertThrows(ModelFormatException.class, this::open);
  }

  @Test
  void refusesEveryBrokenConfigOfTheReference() throws Exception {
    Path overlays = Reference.path("bad/overlay");
    assumeTrue(Files.isDirectory(overlays));
    TestFolders.copy(GOOD, folder);
    List<Path> broken =
        TestFolders.foldersIn(overlays).stream()
            .map(overlay -> overlay.resolve("transformer/config.json"))
            .filter(Files::exists)
            .toList();
    assertFalse(broken.isEmpty());
    for (Path config : broken) {
      Files.copy(config, folder.resolve("config.json"), StandardCopyOption.REPLACE_EXISTING);
      ModelFormatException e =
          assertThrows(ModelFormatException.class, this::open, config.toString());
      assertTrue(String.valueOf(e.getMessage()).contains(folder.toString()), e.getMessage());
    }
  }

  private void open() {
    FluxTransformer.open(folder, ScalarType.Float, Backend.TORCH).close();
  }
}
