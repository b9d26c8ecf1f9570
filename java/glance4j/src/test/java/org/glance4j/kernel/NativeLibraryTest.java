package org.glance4j.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.NativeLoadException;
import org.junit.jupiter.api.Test;

class NativeLibraryTest {
  private static final String OWN_NATIVES = "target" + File.separator + "native";
  private static final List<String> QUIET =
      List.of("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");

  @Test
  void loadsAndSaysWhatItHas() {
    NativeLibrary.require();
    assertNull(NativeLibrary.failure());
    assertTrue(Files.exists(Path.of(NativeLibrary.path())), NativeLibrary.path());
    assertTrue(NativeLibrary.cpuFeatures().startsWith("baseline"), NativeLibrary.cpuFeatures());
    assertNotNull(NativeLibrary.cudaArchitectures());
  }

  @Test
  void tellsWhyThereIsNoCuda() {
    NativeLibrary.Cuda cuda = NativeLibrary.cuda();
    assertEquals(cuda.devices().isEmpty(), cuda.problem() != null, cuda.toString());
    if (!torch.cuda_is_available()) {
      NativeLoadException e = assertThrows(NativeLoadException.class, () -> Backend.CUDA.resolve());
      String said = String.valueOf(e.getMessage());
      assertTrue(said.startsWith("LibTorch has no CUDA device."), said);
      for (String part :
          List.of(
              "driver: ",
              "kernels: " + NativeLibrary.path(),
              "LibTorch: ",
              "libcublasLt.so.13: ",
              "libcudnn.so.9: ",
              "libnccl.so.2: ",
              "searched: [",
              "/usr/local/cuda/lib64",
              "install the driver",
              "or choose backend cpu")) {
        assertTrue(said.contains(part), () -> "no \"" + part + "\" in: " + said);
      }
      assertEquals(
          !CudaLibraries.inLibTorch(),
          said.contains("add the dependency org.glance4j:glance4j-cuda"));
      assertEquals(Backend.CPU, Backend.AUTO.resolve());
    }
  }

  @Test
  void setsWhatTheProgramHasNotSet() throws Exception {
    ChildJvm.Result result = ChildJvm.run(Embedder.class, entry -> true, QUIET);
    assertEquals(0, result.exitCode(), result.output());
    assertEquals("limit 0, threads 1, backend cpu", result.output().strip());
  }

  @Test
  void leavesTheProgramsSettingsAlone() throws Exception {
    ChildJvm.Result result =
        ChildJvm.run(
            Embedder.class,
            entry -> true,
            List.of(
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.log.org.bytedeco=error",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=10g"));
    assertEquals(0, result.exitCode(), result.output());
    assertTrue(result.output().contains("limit " + (10L << 30)), result.output());
    assertTrue(result.output().contains("maxPhysicalBytes=0"), result.output());
  }

  @Test
  void saysHowToGetAMissingKernelLibrary() throws Exception {
    ChildJvm.Result result =
        ChildJvm.run(MissingKernels.class, entry -> !entry.endsWith(OWN_NATIVES), QUIET);
    assertEquals(0, result.exitCode(), result.output());
    assertTrue(result.output().contains("libjniKernels.so on the class path: no"), result.output());
    assertTrue(result.output().contains("add the dependency org.glance4j"), result.output());
    assertTrue(result.output().endsWith("backend torch" + System.lineSeparator()), result.output());
  }

  @Test
  void saysHowToGetAMissingLibTorch() throws Exception {
    ChildJvm.Result result =
        ChildJvm.run(
            MissingKernels.class, entry -> !entry.matches(".*pytorch-[^/]*-linux-.*"), QUIET);
    assertFalse(result.exitCode() == 0, result.output());
    assertTrue(result.output().contains("cannot load LibTorch"), result.output());
    assertTrue(result.output().contains("glance4j-platform"), result.output());
  }

  /** A program that sets nothing. */
  static final class Embedder {
    public static void main(String[] args) {
      NativeRuntime.setThreads(1);
      System.out.printf(
          "limit %d, threads %d, backend %s%n",
          Pointer.maxPhysicalBytes(), torch.get_num_threads(), Backend.CPU.resolve());
    }
  }

  /** A program with a jar missing from its class path. */
  static final class MissingKernels {
    public static void main(String[] args) {
      for (int i = 0; i < 2; i++) {
        NativeLoadException e =
            assertThrows(NativeLoadException.class, () -> Backend.CPU.resolve());
        System.out.println(e.getMessage());
      }
      System.out.println("backend " + Backend.AUTO.resolve());
    }
  }
}
