package org.glance4j.kernel;

import java.lang.ref.Reference;
import java.util.Objects;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.glance4j.kernel.jni.Conv2dArgs;
import org.glance4j.kernel.jni.Kernels;
import org.jspecify.annotations.Nullable;

/** {@link Conv2d} through the C ABI. */
final class NativeConv2d {
  private static final ThreadLocal<Conv2dArgs> BLOCKS =
      NativeCall.perThread(NativeConv2d::newBlock);

  private NativeConv2d() {}

  private static Conv2dArgs newBlock() {
    Conv2dArgs args = NativeCall.keep(new Conv2dArgs());
    args.struct_size(NativeCall.size(Conv2dArgs.class));
    args.dtype(Kernels.GLANCE_F32);
    args.device(Kernels.GLANCE_CPU);
    args.device_index(0);
    args.reserved(0);
    return args;
  }

  static Tensor forward(Conv2d conv, Tensor x, @Nullable Tensor residual, long[] shape) {
    Tensor in = Conv2d.channelsLast(x);
    Tensor before = residual == null ? null : Conv2d.channelsLast(residual);
    Tensor y = torch.empty(shape, x.options(), new MemoryFormatOptional(MemoryFormat.ChannelsLast));
    Conv2dArgs args = BLOCKS.get();
    try {
      args.x(in.data_ptr());
      args.y(y.data_ptr());
      args.residual(NativeCall.data(before));
      args.samples(in.size(0));
      args.height(in.size(2));
      args.width(in.size(3));
      fill(args, conv);
      NativeLibrary.check(Kernels.glance_conv2d(args, null));
      return y;
    } finally {
      // As in FlowStep.
      Reference.reachabilityFence(in);
      Reference.reachabilityFence(before);
      Reference.reachabilityFence(y);
      Reference.reachabilityFence(conv);
    }
  }

  private static void fill(Conv2dArgs args, Conv2d conv) {
    Conv2d.Norm norm = conv.norm;
    args.weights(Objects.requireNonNull(conv.packed).matrix());
    args.bias(NativeCall.data(conv.bias));
    args.norm_weight(norm == null ? null : NativeCall.data(norm.weight()));
    args.norm_bias(norm == null ? null : NativeCall.data(norm.bias()));
    args.in_channels(conv.in);
    args.out_channels(conv.out);
    args.groups(norm == null ? 0 : norm.groups());
    args.epsilon(norm == null ? 0 : (float) norm.epsilon());
    args.kernel(conv.kernel);
    args.form(
        conv.form == Conv2d.Form.DIRECT
            ? Kernels.GLANCE_CONV2D_FORM_DIRECT
            : Kernels.GLANCE_CONV2D_FORM_WINOGRAD);
    args.norm(name(norm));
    args.silu(conv.silu ? 1 : 0);
    args.upscale(conv.upscale == Conv2d.Upscale.TWICE ? 1 : 0);
  }

  private static int name(Conv2d.@Nullable Norm norm) {
    if (norm == null) {
      return Kernels.GLANCE_CONV2D_NORM_NONE;
    }
    return norm.kind() == Conv2d.Norm.Kind.GROUP
        ? Kernels.GLANCE_CONV2D_NORM_GROUP
        : Kernels.GLANCE_CONV2D_NORM_PIXEL;
  }
}
