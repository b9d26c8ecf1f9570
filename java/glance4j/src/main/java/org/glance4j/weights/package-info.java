/** Model files: safetensors, sharded indexes, component configurations. */
@NullMarked
package org.glance4j.weights;

import org.jspecify.annotations.NullMarked;
