/** Qwen-Image: prompt encoding. */
@NullMarked
package org.glance4j.model.qwen;

import org.jspecify.annotations.NullMarked;
