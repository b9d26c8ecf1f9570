package org.glance4j.model.flux;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Attention;
import org.glance4j.model.LoraLinears;

/** {@link JointAttention} in plain LibTorch operations. Gradients are recorded. */
final class TorchAttention extends JointAttention {
  TorchAttention(Heads heads) {
    super(heads);
  }

  @Override
  Tensor attend(Rope rope, Stream... streams) {
    Tensor qkv = heads.split(joined(streams));
    Tensor qk = heads.rmsNorm(qkv);
    long first = 0;
    for (Stream stream : streams) {
      Tensor rows = streams.length == 1 ? qk : qk.narrow(1, first, stream.tokens());
      rows.mul_(stream.norms().both());
      first += stream.tokens();
    }
    Tensor rotated = rope.rotate(qk).permute(2, 0, 3, 1, 4);
    Tensor values = qkv.select(2, 2).transpose(1, 2);
    return Attention.scaledDotProduct(rotated.select(0, 0), rotated.select(0, 1), values)
        .transpose(1, 2);
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
  Tensor projectBeside(LoraLinears in, Tensor x, AdapterChoice mix) {
    return in.project(x, mix);
  }

  @Override
  Tensor attendBeside(Rope rope, Stream stream) {
    Tensor projected = stream.projected();
    long qkv = 3 * heads.width();
    TensorVector parts = projected.split_with_sizes(new long[] {qkv, projected.size(2) - qkv}, 2);
    Tensor attended = attend(rope, new Stream(parts.get(0), stream.norms()));
    return torch.cat(new TensorVector(attended.flatten(2, 3), torch.gelu(parts.get(1), "tanh")), 2);
  }
}
