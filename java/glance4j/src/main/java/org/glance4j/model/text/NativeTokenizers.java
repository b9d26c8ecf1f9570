package org.glance4j.model.text;

import ai.djl.huggingface.tokenizers.jni.LibUtils;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.net.URL;
import java.util.Map;
import org.bytedeco.javacpp.Loader;
import org.glance4j.NativeLoadException;
import org.jspecify.annotations.Nullable;

/**
 * Loads the native library of DJL's tokenizers artifact, once a process.
 *
 * <p>DJL's loader looks for GPUs first (a tenth of a second, and a second JNI bridge) and would
 * download a GPU build, so the CPU library is taken out of the artifact directly, into JavaCPP's
 * cache beside LibTorch. DJL's loader remains for platforms whose library needs others, and for
 * class loaders that keep DJL apart from this class: a JNI library serves only the loader of the
 * class that loads it.
 */
final class NativeTokenizers {
  /** By JavaCPP's platform names. */
  private static final Map<String, String> RESOURCES =
      Map.of(
          "linux-x86_64", "/native/lib/linux-x86_64/cpu/libtokenizers.so",
          "linux-arm64", "/native/lib/linux-aarch64/cpu/libtokenizers.so",
          "macosx-arm64", "/native/lib/osx-aarch64/cpu/libtokenizers.dylib");

  private static boolean loaded;

  private NativeTokenizers() {}

  /** The loaded library. */
  static synchronized TokenizersLibrary library() {
    if (!loaded) {
      load();
      loaded = true;
    }
    return TokenizersLibrary.LIB;
  }

  private static void load() {
    String platform = Loader.getPlatform();
    String resource = RESOURCES.get(platform);
    URL url = resource == null ? null : TokenizersLibrary.class.getResource(resource);
    boolean sameLoader =
        TokenizersLibrary.class.getClassLoader() == NativeTokenizers.class.getClassLoader();
    try {
      if (url != null && sameLoader) {
        System.load(Loader.cacheResource(url).getAbsolutePath());
      } else {
        loadThroughDjl();
      }
    } catch (IOException | RuntimeException | LinkageError e) {
      throw new NativeLoadException(
          "the tokenizer library cannot be loaded on "
              + platform
              + ": "
              + e.getMessage()
              + "; it comes from the artifact ai.djl.huggingface:tokenizers and is unpacked into "
              + "JavaCPP's cache folder, which must be writable"
              + " (-Dorg.bytedeco.javacpp.cachedir=DIR moves it)",
          e);
    }
  }

  /** Has DJL load its CPU library, without the network. */
  static void loadThroughDjl() {
    String flavor = System.setProperty("RUST_FLAVOR", "cpu");
    String offline = System.setProperty("ai.djl.offline", "true");
    try {
      LibUtils.checkStatus();
    } finally {
      // The application may use DJL for other things, online and on a GPU.
      restore("RUST_FLAVOR", flavor);
      restore("ai.djl.offline", offline);
    }
  }

  private static void restore(String property, @Nullable String value) {
    if (value == null) {
      System.clearProperty(property);
    } else {
      System.setProperty(property, value);
    }
  }
}
