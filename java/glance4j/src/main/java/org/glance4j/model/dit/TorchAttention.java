package org.glance4j.model.dit;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Attention;
import org.glance4j.model.LoraLinears;
import org.jspecify.annotations.Nullable;

/** {@link JointAttention} in plain LibTorch operations. Gradients are recorded. */
final class TorchAttention extends JointAttention {
  TorchAttention(Heads heads) {
    super(heads);
  }

  @Override
  Tensor attend(Pass pass, Stream... streams) {
    // Splitting and unbinding have a single step back each, which selecting has for every part.
    TensorVector parts = heads().split(joined(streams)).split_with_sizes(new long[] {2, 1}, 2);
    Tensor normed = heads().rmsNorm(parts.get(0)).mul_(norms(streams));
    TensorVector rotated = pass.rope().rotate(normed).unbind(2);
    return attend(
            pass.padding(),
            rotated.get(0).transpose(1, 2),
            rotated.get(1).transpose(1, 2),
            parts.get(1).squeeze(2).transpose(1, 2))
        .transpose(1, 2);
  }

  /** Attends alone; see {@link Attention#scaledDotProduct} for the shapes. */
  static Tensor attend(@Nullable TextPadding padding, Tensor query, Tensor key, Tensor value) {
    if (padding == null) {
      return Attention.scaledDotProduct(query, key, value);
    }
    TensorVector samples = new TensorVector();
    for (int i = 0; i < padding.samples(); i++) {
      samples.push_back(
          Attention.scaledDotProduct(
              query.narrow(0, i, 1), padding.attended(key, i), padding.attended(value, i)));
    }
    return torch.cat(samples, 0);
  }

  /** The weights of q's and k's norms for each token: shape [tokens or 1, 2, 1, headDim]. */
  static Tensor norms(Stream... streams) {
    if (streams.length == 1) {
      return streams[0].norms().both();
    }
    TensorVector all = new TensorVector();
    for (Stream stream : streams) {
      all.push_back(stream.norms().both().unsqueeze(0).expand(stream.tokens(), -1, -1, -1));
    }
    return torch.cat(all, 0);
  }

  private static Tensor joined(Stream... streams) {
    if (streams.length == 1) {
      return streams[0].projected();
    }
    TensorVector projected = new TensorVector();
    for (Stream stream : streams) {
      projected.push_back(stream.projected());
    }
    return torch.cat(projected, 1);
  }

  /** Without the activation, which in place on a part of the columns is a slow way back. */
  @Override
  public Tensor projectBeside(LoraLinears in, Tensor x, AdapterChoice mix) {
    return in.project(x, mix);
  }

  @Override
  public Tensor attendBeside(Pass pass, Stream stream) {
    Tensor projected = stream.projected();
    long qkv = 3 * heads().width();
    TensorVector parts = projected.split_with_sizes(new long[] {qkv, projected.size(2) - qkv}, 2);
    Tensor attended = attend(pass, new Stream(parts.get(0), stream.norms()));
    return torch.cat(new TensorVector(attended.flatten(2, 3), torch.gelu(parts.get(1), "tanh")), 2);
  }
}
