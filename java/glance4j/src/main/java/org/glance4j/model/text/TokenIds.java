package org.glance4j.model.text;

/**
 * A prompt as token ids.
 *
 * @param ids the ids, padded or truncated to the length asked for; not copied
 * @param untruncatedLength how many tokens the whole prompt has, with the tokens that mark its
 *     beginning and end and without padding
 */
@SuppressWarnings("ArrayRecordComponent") // Compared by nothing; copying would only cost.
public record TokenIds(long[] ids, int untruncatedLength) {}
