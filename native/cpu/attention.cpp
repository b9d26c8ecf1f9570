// attention on the CPU: for each head two products by register tiles with a softmax between.
//
// Formula, shapes, types: glance/attention.h. k and v of some heads are packed into panels first,
// shared among threads; then every thread takes an even share of the tiles of queries. A tile's
// scores against all keys are kept, at most 14 rows of them (258 KB at 4608 keys, which the
// second-level cache holds), so the softmax needs no second look at k. 4 * queries * keys * dim
// operations a head; k and v are read from the last cache once for each tile of queries.
#include "cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstring>
#include <new>

#include "core/matrix.h"
#include "core/status.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tiles.h"

namespace glance {
namespace {

// The packed k and v of the heads in work are limited to about this: the last cache should hold
// them.
constexpr int64_t kGroupBytes = 16 << 20;

const AttentionKernels &kernels() noexcept { return GLANCE_PICK_ISA(attention_kernels)(); }

int64_t up(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Some heads, numbered over the whole batch, from first to first + count - 1.
class HeadGroup {
 public:
  explicit HeadGroup(const glance_attention_args &args)
      : a_(args),
        tile_(tile_kernels()),
        rows_(kernels()),
        sums_of_(args.dtype == GLANCE_F32 ? tile_.sums_f32 : tile_.sums_bf16),
        element_(dtype_bytes(args.dtype)),
        tile_rows_(tile_rows_of(args.dtype)),
        k_units_((args.dim * element_ + 3) / 4),
        v_units_((args.keys * element_ + 3) / 4),
        score_stride_(up(args.keys, kScoreMultiple) + 16),
        k_words_(up(args.keys, tile_.columns) * k_units_),
        v_words_(up(args.dim, tile_.columns) * v_units_),
        tiles_((args.queries + tile_rows_ - 1) / tile_rows_) {}

  // How many heads are packed at a time: enough for every thread, and no more than the cache holds.
  int64_t most_heads() const {
    return std::max<int64_t>(kGroupBytes / (4 * (k_words_ + v_words_)), max_threads());
  }

  glance_status run(int64_t first, int64_t count) noexcept {
    const double work = 4.0 * static_cast<double>(count * a_.dim) *
                        static_cast<double>(a_.queries) * static_cast<double>(a_.keys);
    const int wanted = threads_worth(work, count * tiles_);
    if (!lay_out(count, wanted)) return GLANCE_OUT_OF_MEMORY;
    first_ = first;
    parallel(wanted, [&](int thread, int threads) {
      for (int64_t i = share_begin(count, thread, threads);
           i < share_begin(count, thread + 1, threads); ++i) {
        pack(i);
      }
      attend(share_begin(count * tiles_, thread, threads),
             share_begin(count * tiles_, thread + 1, threads),
             scores_ + thread * tile_rows_ * score_stride_);
    });
    return GLANCE_OK;
  }

 private:
  // Places the workspace in the thread's scratch memory. All threads' scores are part of it: a
  // thread that found no memory of its own would leave out's other rows written.
  bool lay_out(int64_t heads, int threads) {
    const int64_t scores_bytes = 4 * tile_rows_ * score_stride_ * threads;
    const int64_t panels_bytes = 4 * heads * (k_words_ + v_words_);
    const int64_t bytes = scores_bytes + panels_bytes + heads;
    static thread_local Scratch scratch;
    char *memory = scratch.reserve(static_cast<size_t>(bytes));
    if (memory == nullptr) {
      fail(GLANCE_OUT_OF_MEMORY, "attention: no memory for %" PRId64 " bytes of workspace", bytes);
      return false;
    }
    scores_ = reinterpret_cast<float *>(memory);
    panels_ = reinterpret_cast<uint32_t *>(memory + scores_bytes);
    packed_ = reinterpret_cast<std::atomic<uint8_t> *>(memory + scores_bytes + panels_bytes);
    for (int64_t i = 0; i < heads; ++i) new (&packed_[i]) std::atomic<uint8_t>(0);
    return true;
  }

  uint32_t *k_panels(int64_t head) const { return panels_ + head * (k_words_ + v_words_); }
  uint32_t *v_panels(int64_t head) const { return k_panels(head) + k_words_; }

  int64_t offset(int64_t head, int64_t batch_stride, int64_t head_stride) const {
    const int64_t index = first_ + head;
    return index / a_.heads * batch_stride + index % a_.heads * head_stride;
  }

  void pack(int64_t head) {
    const int64_t at = offset(head, a_.kv_batch_stride, a_.kv_head_stride) * element_;
    const int64_t stride = a_.kv_token_stride * element_;
    rows_.pack_keys({static_cast<const char *>(a_.k) + at, a_.keys, a_.dim, stride, a_.dtype},
                    k_panels(head));
    rows_.pack_values({static_cast<const char *>(a_.v) + at, a_.keys, a_.dim, stride, a_.dtype},
                      v_panels(head));
    packed_[head].store(1, std::memory_order_release);
  }

  void attend(int64_t begin, int64_t end, float *scores) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / tiles_;
      for (uint32_t turn = 0; packed_[head].load(std::memory_order_acquire) == 0; ++turn) {
        wait_a_turn(turn);
      }
      attend_tile(head, i % tiles_, scores);
    }
  }

  // The tile's rows of q.
  TileInput queries(int64_t head, const RowTile &tile) const {
    const int64_t at =
        offset(head, a_.q_batch_stride, a_.q_head_stride) + tile.begin * a_.q_token_stride;
    return {static_cast<const char *>(a_.q) + at * element_, a_.q_token_stride * element_,
            tile.rows, a_.dim, a_.dtype};
  }

  void attend_tile(int64_t head, int64_t index, float *scores) const {
    const RowTile tile = row_tile(0, a_.queries, index, tiles_, -1);
    score(head, tile, scores);
    float factors[kMaxTileRows];
    for (int i = 0; i < tile.rows; ++i) {
      factors[i] = 1.0f / rows_.soften(scores + i * score_stride_, a_.keys, a_.scale, a_.dtype);
    }
    add_values(head, tile, scores, factors);
  }

  // scores = q k^T
  void score(int64_t head, const RowTile &tile, float *scores) const {
    const TileInput q = queries(head, tile);
    TileTerm terms[TileInput::kMostTerms];
    alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
    for (int64_t first = 0; first < a_.keys; first += tile_.columns) {
      const int used = static_cast<int>(std::min<int64_t>(tile_.columns, a_.keys - first));
      const int count = q.terms(k_panels(head) + first * k_units_, terms);
      sums_of_(terms, count, tile.rows, used, sums);
      for (int i = 0; i < tile.rows; ++i) {
        memcpy(scores + i * score_stride_ + first, sums + i * tile_.columns,
               static_cast<size_t>(used) * sizeof(float));
      }
    }
  }

  // out = factor * (weights v), weights being what soften made of the scores.
  void add_values(int64_t head, const RowTile &tile, const float *weights,
                  const float *factors) const {
    const int64_t out_element = dtype_bytes(a_.out_dtype);
    char *out =
        static_cast<char *>(a_.out) +
        (offset(head, a_.out_batch_stride, a_.out_head_stride) + tile.begin * a_.out_token_stride) *
            out_element;
    TileTerm term = {reinterpret_cast<const char *>(weights), 4 * score_stride_, nullptr, v_units_};
    alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
    for (int64_t first = 0; first < a_.dim; first += tile_.columns) {
      const int used = static_cast<int>(std::min<int64_t>(tile_.columns, a_.dim - first));
      term.panel = v_panels(head) + first * v_units_;
      sums_of_(&term, 1, tile.rows, used, sums);
      for (int i = 0; i < tile.rows; ++i) {
        rows_.store(out + (i * a_.out_token_stride + first) * out_element, a_.out_dtype,
                    sums + i * tile_.columns, factors[i], used);
      }
    }
  }

  const glance_attention_args &a_;
  const TileKernels &tile_;
  const AttentionKernels &rows_;
  void (*const sums_of_)(const TileTerm *terms, int count, int rows, int used, float *sums);
  const int64_t element_;
  const int64_t tile_rows_;
  const int64_t k_units_;
  const int64_t v_units_;
  // An odd number of cache lines, so that rows do not fall in one set of the first-level cache.
  const int64_t score_stride_;
  const int64_t k_words_;
  const int64_t v_words_;
  const int64_t tiles_;
  int64_t first_ = 0;
  float *scores_ = nullptr;
  uint32_t *panels_ = nullptr;
  std::atomic<uint8_t> *packed_ = nullptr;
};

}  // namespace

glance_status attention_cpu(const glance_attention_args &args) noexcept {
  HeadGroup group(args);
  const int64_t heads = args.batch * args.heads;
  const int64_t most = group.most_heads();  // once: the number of threads may change
  for (int64_t first = 0; first < heads; first += most) {
    const glance_status status = group.run(first, std::min(most, heads - first));
    if (status != GLANCE_OK) return status;
  }
  return GLANCE_OK;
}

}  // namespace glance
