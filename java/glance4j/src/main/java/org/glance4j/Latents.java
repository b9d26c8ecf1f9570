package org.glance4j;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.glance4j.kernel.NativeRuntime;
import org.glance4j.weights.SafetensorsFile;
import org.glance4j.weights.SafetensorsWriter;
import org.glance4j.weights.TensorInfo;

/**
 * Packed latents of one image: a token for each 2x2 patch of the VAE's latents, as diffusers'
 * {@code latents} argument takes them. Immutable.
 */
public final class Latents {
  private static final String TENSOR = "latents";

  private final int tokens;
  private final int channels;
  private final float[] values;

  /**
   * @param tokens how many patches: (height / 16) * (width / 16)
   * @param channels of one patch: 64 for FLUX
   * @param values row-major, {@code tokens * channels} of them; copied
   */
  public Latents(int tokens, int channels, float[] values) {
    if (tokens < 1 || channels < 1 || values.length != (long) tokens * channels) {
      throw new IllegalArgumentException(
          "%d values do not fill latents of %d tokens with %d channels"
              .formatted(values.length, tokens, channels));
    }
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException("latents hold " + value + "; all must be finite");
      }
    }
    this.tokens = tokens;
    this.channels = channels;
    this.values = values.clone();
  }

  /** How many patches there are. */
  public int tokens() {
    return tokens;
  }

  /** How many channels a patch has. */
  public int channels() {
    return channels;
  }

  /** A copy of the values, row-major [tokens, channels]. */
  public float[] values() {
    return values.clone();
  }

  /**
   * Reads a safetensors file with one tensor of shape [1, tokens, channels] or [tokens, channels],
   * in any floating-point type.
   */
  public static Latents read(Path path) {
    NativeRuntime.initialize();
    try (SafetensorsFile file = SafetensorsFile.open(path);
        PointerScope scope = new PointerScope()) {
      Map<String, TensorInfo> tensors = file.tensors();
      if (tensors.size() != 1) {
        throw ModelFormatException.in(
            path, "content", "holds " + tensors.size() + " tensors; latents are one");
      }
      String name = tensors.keySet().iterator().next();
      Tensor tensor = file.tensor(name);
      boolean batchOfOne = tensor.dim() == 3 && tensor.size(0) == 1;
      if (!tensor.is_floating_point() || !(batchOfOne || tensor.dim() == 2)) {
        throw ModelFormatException.in(
            path, name, "is not a floating-point tensor of shape [1, tokens, channels]");
      }
      if (!tensor.isfinite().all().item_bool()) {
        throw ModelFormatException.in(path, name, "holds NaN or infinite values");
      }
      return of(batchOfOne ? tensor.squeeze(0) : tensor);
    }
  }

  /** Writes a safetensors file with one f32 tensor {@code latents} [1, tokens, channels]. */
  public void write(Path path) throws IOException {
    try (PointerScope scope = new PointerScope()) {
      Map<String, Tensor> tensors = Map.of(TENSOR, toTensor());
      AtomicFile.write(path, out -> SafetensorsWriter.write(out, tensors, Map.of()));
    }
  }

  /** Copies a tensor of shape [tokens, channels]. */
  static Latents of(Tensor tensor) {
    try (PointerScope scope = new PointerScope()) {
      Tensor cpu = tensor.to(ScalarType.Float).cpu().contiguous();
      float[] values = new float[Math.toIntExact(cpu.numel())];
      new FloatPointer(cpu.data_ptr_float()).get(values);
      return new Latents(Math.toIntExact(tensor.size(0)), Math.toIntExact(tensor.size(1)), values);
    }
  }

  /** A new tensor [1, tokens, channels], f32, on the CPU. */
  Tensor toTensor() {
    return torch
        .from_blob(new FloatPointer(FloatBuffer.wrap(values)), new long[] {1, tokens, channels})
        .clone();
  }
}
