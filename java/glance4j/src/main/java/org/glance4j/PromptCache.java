package org.glance4j;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.glance4j.model.Conditioning;
import org.glance4j.model.ImageModel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The prompts encoded last, since services and CFG ask for the same ones again. One thread. */
final class PromptCache implements AutoCloseable {
  /** A FLUX prompt of 512 tokens is 8 MB; a generation uses at most two. */
  private static final int CAPACITY = 16;

  private static final Logger log = LoggerFactory.getLogger(PromptCache.class);

  private record Key(String prompt, int textTokens) {}

  private final ImageModel model;
  private final Map<Key, Conditioning> entries = new LinkedHashMap<>(CAPACITY, 0.75f, true);

  PromptCache(ImageModel model) {
    this.model = model;
  }

  /** The encoded prompt; it stays valid while at most {@value #CAPACITY} - 1 others are asked. */
  Conditioning get(String prompt, int textTokens) {
    Key key = new Key(prompt, textTokens);
    Conditioning known = entries.get(key);
    if (known != null) {
      return known;
    }
    if (entries.size() == CAPACITY) {
      Iterator<Conditioning> oldestFirst = entries.values().iterator();
      oldestFirst.next().close();
      oldestFirst.remove();
    }
    Conditioning encoded = model.encode(prompt, textTokens);
    if (encoded.truncation() != null) {
      log.warn("{}", encoded.truncation());
    }
    entries.put(key, encoded);
    return encoded;
  }

  @Override
  public void close() {
    entries.values().forEach(Conditioning::close);
    entries.clear();
  }
}
