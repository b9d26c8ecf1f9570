package org.glance4j.model;

/**
 * The widths of a linear that an adapter may change.
 *
 * @param inFeatures the width of its input
 * @param outFeatures the width of its output
 */
public record LinearShape(long inFeatures, long outFeatures) {}
