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
            include = {"glance/core.h", "glance/flow_step.h"},
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
        .put(struct("glance_cuda_device", "CudaDevice"));
  }

  // JavaCPP's generated position() and getPointer() make unchecked overrides.
  private static Info struct(String cName, String javaName) {
    return new Info(cName).pointerTypes(javaName).annotations("@SuppressWarnings(\"unchecked\")");
  }
}
