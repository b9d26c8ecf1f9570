package org.glance4j.model.flux;

import org.glance4j.lora.AdapterChoice;
import org.glance4j.model.Probe;

/** What one forward pass carries through all blocks. */
record Pass(AdapterChoice mix, Rope rope, Probe probe) {}
