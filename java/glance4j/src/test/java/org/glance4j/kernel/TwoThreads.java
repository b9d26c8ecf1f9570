package org.glance4j.kernel;

import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Two threads for each test, whatever the machine has; after it as many as before. */
public final class TwoThreads implements BeforeEachCallback, AfterEachCallback {
  private int before;

  @Override
  public void beforeEach(ExtensionContext context) {
    NativeRuntime.initialize();
    before = torch.get_num_threads();
    NativeRuntime.setThreads(2);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    NativeRuntime.setThreads(before);
  }
}
