// attention on the CPU: for each head two products by register tiles with a softmax between.
//
// Formula, shapes, types: glance/attention.h. k and v of some heads are packed into panels first,
// shared among threads; then every thread takes an even share of the tiles of queries. A tile's scores
// against all keys are kept, at most 14 rows of them (258 KB at 4608 keys, which the second-level
// cache holds), so the softmax needs no second look at k. 4 * queries * keys * dim operations a head;
// k and v are read from the last cache once for each tile of queries.
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
#include "cpu/tile.h"

namespace glance {
namespace {

// The packed k and v of the heads in work are limited to about this: the last cache should hold them.
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
        element_(dtype_bytes(args.dtype)),
        tile_rows_(args.dtype == GLANCE_F32 ? tile_.rows_f32 : tile_.rows_bf16),
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
    const int64_t head_bytes = 4 * (k_words_ + v_words_);
    static thread_local Scratch scratch;
    char *memory = scratch.reserve(static_cast<size_t>(count * (head_bytes + 1)));
    if (memory == nullptr) return out_of_memory(count * head_bytes);
    panels_ = reinterpret_cast<uint32_t *>(memory);
    packed_ = reinterpret_cast<std::atomic<uint8_t> *>(memory + count * head_bytes);
    for (int64_t i = 0; i < count; ++i) new (&packed_[i]) std::atomic<uint8_t>(0);
    first_ = first;
    const double work = 4.0 * static_cast<double>(count * a_.dim) *
                        static_cast<double>(a_.queries) * static_cast<double>(a_.keys);
    std::atomic<bool> enough{true};
    parallel(threads_worth(work, count * tiles_), [&](int thread, int threads) {
      for (int64_t i = share_begin(count, thread, threads);
           i < share_begin(count, thread + 1, threads); ++i) {
        pack(i);
      }
      if (!attend(share_begin(count * tiles_, thread, threads),
                  share_begin(count * tiles_, thread + 1, threads))) {
        enough.store(false, std::memory_order_relaxed);
      }
    });
    return enough.load(std::memory_order_relaxed) ? GLANCE_OK : out_of_memory(scores_bytes());
  }

 private:
  static glance_status out_of_memory(int64_t bytes) {
    return fail(GLANCE_OUT_OF_MEMORY, "attention: no memory for %" PRId64 " bytes of workspace",
                bytes);
  }

  int64_t scores_bytes() const { return 4 * score_stride_ * tile_rows_; }

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

  // False if there is no memory; the tiles are then left as they were.
  bool attend(int64_t begin, int64_t end) {
    static thread_local Scratch scratch;
    // And room for q's rows, where they must be copied.
    const int64_t q_bytes = tile_rows_ * 4 * k_units_;
    char *memory = scratch.reserve(static_cast<size_t>(scores_bytes() + q_bytes));
    if (memory == nullptr) return false;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / tiles_;
      for (uint32_t turn = 0; packed_[head].load(std::memory_order_acquire) == 0; ++turn) {
        wait_a_turn(turn);
      }
      attend_tile(head, i % tiles_, reinterpret_cast<float *>(memory), memory + scores_bytes());
    }
    return true;
  }

  // The tile's rows of q, in whole words.
  TileTerm queries(int64_t head, int64_t row, int rows, char *copy) const {
    const char *q =
        static_cast<const char *>(a_.q) +
        (offset(head, a_.q_batch_stride, a_.q_head_stride) + row * a_.q_token_stride) * element_;
    const int64_t stride = a_.q_token_stride * element_;
    if (a_.dim * element_ % 4 == 0) return {q, stride, nullptr, k_units_};
    for (int i = 0; i < rows; ++i) {
      memcpy(copy + i * 4 * k_units_, q + i * stride, static_cast<size_t>(a_.dim * element_));
      memset(copy + i * 4 * k_units_ + a_.dim * element_, 0, 2);
    }
    return {copy, 4 * k_units_, nullptr, k_units_};
  }

  void attend_tile(int64_t head, int64_t tile, float *scores, char *q_copy) {
    const auto sums_of = a_.dtype == GLANCE_F32 ? tile_.sums_f32 : tile_.sums_bf16;
    const int64_t row = a_.queries * tile / tiles_;
    const int rows = static_cast<int>(a_.queries * (tile + 1) / tiles_ - row);
    alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
    TileTerm term = queries(head, row, rows, q_copy);
    for (int64_t first = 0; first < a_.keys; first += tile_.columns) {
      const int used = static_cast<int>(std::min<int64_t>(tile_.columns, a_.keys - first));
      term.panel = k_panels(head) + first * k_units_;
      sums_of(&term, 1, rows, used, sums);
      for (int i = 0; i < rows; ++i) {
        memcpy(scores + i * score_stride_ + first, sums + i * tile_.columns,
               static_cast<size_t>(used) * sizeof(float));
      }
    }
    float factors[kMaxTileRows];
    for (int i = 0; i < rows; ++i) {
      factors[i] = 1.0f / rows_.soften(scores + i * score_stride_, a_.keys, a_.scale, a_.dtype);
    }
    term = {reinterpret_cast<const char *>(scores), 4 * score_stride_, nullptr, v_units_};
    char *out = static_cast<char *>(a_.out);
    const int64_t out_element = dtype_bytes(a_.out_dtype);
    out += (offset(head, a_.out_batch_stride, a_.out_head_stride) + row * a_.out_token_stride) *
           out_element;
    for (int64_t first = 0; first < a_.dim; first += tile_.columns) {
      const int used = static_cast<int>(std::min<int64_t>(tile_.columns, a_.dim - first));
      term.panel = v_panels(head) + first * v_units_;
      sums_of(&term, 1, rows, used, sums);
      for (int i = 0; i < rows; ++i) {
        rows_.store(out + (i * a_.out_token_stride + first) * out_element, a_.out_dtype,
                    sums + i * tile_.columns, factors[i], used);
      }
    }
  }

  const glance_attention_args &a_;
  const TileKernels &tile_;
  const AttentionKernels &rows_;
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
  uint32_t *panels_ = nullptr;
  std::atomic<uint8_t> *packed_ = nullptr;
};

}  // namespace

glance_status attention_cpu(const glance_attention_args &args) noexcept {
  HeadGroup group(args);
  const int64_t heads = args.batch * args.heads;
  for (int64_t first = 0; first < heads; first += group.most_heads()) {
    const glance_status status = group.run(first, std::min(group.most_heads(), heads - first));
    if (status != GLANCE_OK) return status;
  }
  return GLANCE_OK;
}

}  // namespace glance
