package org.glance4j.lora;

/** What a forward pass applies: a mix, or whichever of several is named where it runs. */
public sealed interface AdapterChoice permits AdapterMix, SelectedMix {}
