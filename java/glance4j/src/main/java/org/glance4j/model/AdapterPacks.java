package org.glance4j.model;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.glance4j.kernel.Backend;
import org.glance4j.kernel.LoraMatmul;
import org.glance4j.kernel.LoraMatmul.Adapter;
import org.glance4j.kernel.LoraMatmul.Up;
import org.glance4j.kernel.PackedMatrix;
import org.glance4j.lora.AdapterMix;
import org.glance4j.lora.LoraPair;
import org.glance4j.lora.SelectedMix;
import org.jspecify.annotations.Nullable;

/**
 * The adapters of one call's linears as the kernels read them, for the mixes used last. Packed when
 * a mix is first used; an adapter's tensors must not change after that.
 *
 * <p>The adapters of a mix become one: their A below each other, their B side by side, scaled to
 * the first one's scale. Thread-safe but for {@link #close()}.
 */
final class AdapterPacks implements AutoCloseable {
  /** A generation uses one for each phase; the others are for generations at the same time. */
  private static final int MIXES = 8;

  /**
   * The mix of the last call.
   *
   * @param adapter null if the mix leaves all linears alone
   */
  private record Pack(AdapterMix mix, @Nullable Adapter adapter) {}

  /** One adapter's pair in one linear, with the strength it has in the mix. */
  record Term(LoraPair pair, double scale) {}

  private final Backend backend;
  private final List<String> linears;
  private @Nullable volatile Pack last;

  /**
   * Empty for a mix that leaves all linears alone. What falls out is left to the garbage collector:
   * another thread may be computing with it.
   */
  private final Map<AdapterMix, Optional<Adapter>> packs =
      new LinkedHashMap<>(MIXES, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<AdapterMix, Optional<Adapter>> eldest) {
          return size() > MIXES;
        }
      };

  /**
   * @param linears the names adapters know the call's linears by, in order
   */
  AdapterPacks(Backend backend, List<String> linears) {
    this.backend = backend;
    this.linears = List.copyOf(linears);
  }

  /** The mix as one adapter; null if it leaves all linears alone. */
  @SuppressWarnings("ReferenceEquality")
  @Nullable Adapter get(AdapterMix mix) {
    if (mix.parts().isEmpty()) {
      return null;
    }
    // Mostly the same object as in the last call; comparing the mixes' parts takes longer.
    Pack pack = last;
    if (pack == null || pack.mix() != mix) {
      pack = new Pack(mix, find(mix));
      last = pack;
    }
    return pack.adapter();
  }

  /**
   * The mixes as one adapter each, in their order, so that all calls' tables have the same indices.
   * A mix that leaves all linears alone is one that changes none of them; empty if all do.
   */
  List<Adapter> get(SelectedMix selected) {
    List<@Nullable Adapter> packed = new ArrayList<>();
    selected.mixes().forEach(mix -> packed.add(get(mix)));
    return withoutGaps(packed);
  }

  /** Puts an adapter that changes no linear where there is none. */
  static List<Adapter> withoutGaps(List<@Nullable Adapter> packed) {
    Adapter any = packed.stream().filter(Objects::nonNull).findFirst().orElse(null);
    if (any == null) {
      return List.of();
    }
    List<@Nullable Up> none = Collections.nCopies(any.ups().size(), null);
    Adapter idle = new Adapter(any.down(), none, any.scale());
    return packed.stream().map(adapter -> adapter == null ? idle : adapter).toList();
  }

  private synchronized @Nullable Adapter find(AdapterMix mix) {
    return packs.computeIfAbsent(mix, made -> Optional.ofNullable(pack(made))).orElse(null);
  }

  private @Nullable Adapter pack(AdapterMix mix) {
    requireConstant(mix);
    return packAnew(mix);
  }

  /**
   * The mix as one adapter, from the values its tensors have now; null if it leaves all linears
   * alone. It is the caller's to {@link #free}.
   */
  @Nullable Adapter packAnew(AdapterMix mix) {
    List<List<Term>> terms = linears.stream().map(name -> terms(mix, name)).toList();
    if (terms.stream().allMatch(List::isEmpty)) {
      return null;
    }
    double scale = terms.stream().flatMap(List::stream).findFirst().map(Term::scale).orElseThrow();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      TensorVector downs = new TensorVector();
      List<@Nullable Up> ups = new ArrayList<>();
      long first = 0;
      for (int i = 0; i < terms.size(); i++) {
        for (Term term : terms.get(i)) {
          downs.push_back(term.pair().down());
        }
        ups.add(up(terms.get(i), scale, first));
        first += requireRank(mix, linears.get(i), terms.get(i));
      }
      return new Adapter(packed(torch.cat(downs, 0)), ups, (float) scale);
    }
  }

  /** What the mix does to one linear; nothing if its strength is 0. */
  static List<Term> terms(AdapterMix mix, String linear) {
    List<Term> terms = new ArrayList<>();
    for (AdapterMix.Part part : mix.parts()) {
      LoraPair pair = part.adapter().pair(linear);
      if (pair != null && part.strength() * pair.scale() != 0) {
        terms.add(new Term(pair, part.strength() * pair.scale()));
      }
    }
    return terms;
  }

  private void requireConstant(AdapterMix mix) {
    for (AdapterMix.Part part : mix.parts()) {
      for (String linear : linears) {
        LoraPair pair = part.adapter().pair(linear);
        if (pair != null && pair.requiresGradient()) {
          throw new IllegalArgumentException(
              "%s: %s requires a gradient; open the model for training, or use backend torch"
                  .formatted(part.adapter().name(), linear));
        }
      }
    }
  }

  private @Nullable Up up(List<Term> terms, double scale, long first) {
    if (terms.isEmpty()) {
      return null;
    }
    TensorVector parts = new TensorVector();
    for (Term term : terms) {
      Tensor up = term.pair().up();
      parts.push_back(term.scale() == scale ? up : up.mul(new Scalar(term.scale() / scale)));
    }
    return new Up(packed(torch.cat(parts, 1)), first);
  }

  private PackedMatrix packed(Tensor matrix) {
    return PackedMatrix.of(backend, backend.place(matrix));
  }

  private static long requireRank(AdapterMix mix, String linear, List<Term> terms) {
    long rank = terms.stream().mapToLong(term -> term.pair().rank()).sum();
    if (rank > LoraMatmul.MAX_RANK) {
      List<String> names = mix.parts().stream().map(part -> part.adapter().name()).toList();
      throw new IllegalArgumentException(
          "%s: rank %d in %s; at most %d is supported; merge an adapter into the weights or use backend torch"
              .formatted(names, rank, linear, LoraMatmul.MAX_RANK));
    }
    return rank;
  }

  /**
   * Frees all packed adapters. Idempotent; no call may be using them. A mix that is used again is
   * packed again.
   */
  @Override
  public synchronized void close() {
    packs.values().forEach(pack -> pack.ifPresent(AdapterPacks::free));
    packs.clear();
    last = null;
  }

  /** Frees one packed adapter; no call may be using it. */
  static void free(Adapter adapter) {
    adapter.down().close();
    for (Up up : adapter.ups()) {
      if (up != null) {
        up.matrix().close();
      }
    }
  }
}
