package org.glance4j.kernel;

import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * Tells JavaCPP how the headers in {@code include/glance} become {@code org.glance4j.kernel.jni}.
 * Public only because the generated class extends it.
 */
@Properties(
    value =
        @Platform(
            value = {"linux-x86_64", "linux-arm64"},
            compiler = "cpp17",
            include = {
              "glance/core.h",
              "glance/flow_step.h",
              "glance/matrix.h",
              "glance/lora_linear.h",
              "glance/modulated_norm.h",
              "glance/qk_norm_rope.h",
              "glance/gated_residual.h",
              "glance/attention.h",
              "glance/conv2d.h"
            },
            link = "glance_kernels"),
    target = "org.glance4j.kernel.jni",
    global = "org.glance4j.kernel.jni.Kernels")
public class KernelPreset implements InfoMapper {
  @Override
  public void map(InfoMap infoMap) {
    infoMap
        .put(new Info("GLANCE_API").cppTypes().annotations())
        .put(new Info("defined(_WIN32)").define(false))
        .put(struct("glance_flow_step_args", "FlowStepArgs"))
        .put(struct("glance_cuda_device", "CudaDevice"))
        .put(struct("glance_matrix_args", "MatrixArgs"))
        .put(struct("glance_segment", "Segment"))
        .put(struct("glance_adapter", "Adapter"))
        .put(struct("glance_adapter_table", "AdapterTable"))
        .put(struct("glance_up", "Up"))
        .put(struct("glance_linear", "Linear"))
        .put(struct("glance_lora_linear_args", "LoraLinearArgs"))
        .put(struct("glance_lora_linear_backward_args", "LoraLinearBackwardArgs"))
        .put(struct("glance_modulated_norm_args", "ModulatedNormArgs"))
        .put(struct("glance_qk_norm_rope_args", "QkNormRopeArgs"))
        .put(struct("glance_gated_residual_args", "GatedResidualArgs"))
        .put(struct("glance_attention_args", "AttentionArgs"))
        .put(struct("glance_conv2d_args", "Conv2dArgs"))
        .put(new Info("glance_matrix").pointerTypes("Matrix"))
        // Written out, for JavaCPP would add a form with a raw type.
        .put(
            new Info("glance_matrix_create")
                .javaText(
                    "public static native @Cast(\"glance_status\") int glance_matrix_create(@Const"
                        + " MatrixArgs args, @ByPtrPtr Matrix matrix);"));
  }

  // JavaCPP's generated position() and getPointer() make unchecked overrides, and its arrays of
  // pointers are raw.
  private static Info struct(String cName, String javaName) {
    return new Info(cName)
        .pointerTypes(javaName)
        .annotations("@SuppressWarnings({\"unchecked\", \"rawtypes\"})");
  }
}
