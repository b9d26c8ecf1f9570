package org.glance4j.model.text;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.PackedMatrix;
import org.jspecify.annotations.Nullable;

/**
 * A linear, or several that read the same input: {@code y = activation(x W^T + b)} each. x and y
 * have the weights' type. From {@link EncoderLinears}.
 */
sealed interface Linear {
  /** What each linear makes of x [..., in], in their order: new tensors [..., out]. */
  List<Tensor> applyAll(Tensor x);

  /** {@link #applyAll} of a single linear. */
  default Tensor apply(Tensor x) {
    return applyAll(x).get(0);
  }

  /**
   * LibTorch's operations, one linear after the other.
   *
   * @param weights W of each, [out, in]
   * @param parts of as many linears
   */
  record Torch(List<Tensor> weights, List<Part> parts) implements Linear {
    @Override
    public List<Tensor> applyAll(Tensor x) {
      List<Tensor> results = new ArrayList<>(parts.size());
      for (int i = 0; i < parts.size(); i++) {
        Part part = parts.get(i);
        TensorOptional bias =
            part.bias() == null ? new TensorOptional() : new TensorOptional(part.bias());
        results.add(part.activated(torch.linear(x, weights.get(i), bias)));
      }
      return results;
    }
  }

  /**
   * One call of the kernel for all linears.
   *
   * @param weights W of each, [out, in]
   * @param parts of as many linears
   */
  record Packed(LoraMatmul matmul, List<PackedMatrix> weights, List<Part> parts) implements Linear {
    @Override
    public List<Tensor> applyAll(Tensor x) {
      // The kernel reads evenly spaced rows.
      Tensor rows = x.contiguous();
      TensorOptions options = x.options();
      long[] shape = x.sizes().vec().get();
      List<Tensor> results = new ArrayList<>(parts.size());
      List<LoraMatmul.Linear> linears = new ArrayList<>(parts.size());
      for (int i = 0; i < parts.size(); i++) {
        shape[shape.length - 1] = weights.get(i).rows();
        Tensor y = torch.empty(shape, options, null);
        results.add(y);
        linears.add(linear(weights.get(i), parts.get(i), y));
      }
      matmul.forward(rows, linears);
      for (int i = 0; i < parts.size(); i++) {
        if (!parts.get(i).isFused()) {
          results.set(i, parts.get(i).activated(results.get(i)));
        }
      }
      return results;
    }

    private static LoraMatmul.Linear linear(PackedMatrix weight, Part part, Tensor y) {
      LoraMatmul.Activation fused =
          part.isFused() ? LoraMatmul.Activation.GELU_TANH : LoraMatmul.Activation.NONE;
      return new LoraMatmul.Linear(weight, part.bias(), y, fused, null);
    }
  }

  /** What becomes of one linear's product. */
  record Part(@Nullable Tensor bias, @Nullable Activation activation) {
    /** {@code y} itself if there is no activation. */
    Tensor activated(Tensor y) {
      return activation == null ? y : activation.apply(y);
    }

    /** True if the kernel applies the activation itself. */
    boolean isFused() {
      return activation == Activation.GELU_TANH;
    }
  }
}
