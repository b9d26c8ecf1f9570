/** The command line. */
@NullMarked
package org.glance4j.cli;

import org.jspecify.annotations.NullMarked;
