package org.glance4j.model.flux;

import org.glance4j.lora.AdapterMix;
import org.glance4j.model.Probe;

/** What one forward pass carries through all blocks. */
record Pass(AdapterMix mix, Rope rope, Probe probe) {}
