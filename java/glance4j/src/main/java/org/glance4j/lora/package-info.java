/** LoRA adapters and their file formats. */
@NullMarked
package org.glance4j.lora;

import org.jspecify.annotations.NullMarked;
