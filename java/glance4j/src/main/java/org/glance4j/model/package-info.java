/** What the models share. */
@NullMarked
package org.glance4j.model;

import org.jspecify.annotations.NullMarked;
