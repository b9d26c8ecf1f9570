// qk_norm_rope, the loops; compiled once per instruction set.
//
// Formula: glance/qk_norm_rope.h, which also gives the layouts: 100 tokens of 6 heads of 32 to 4608
// tokens of 24 heads of 128. Reads q, k and v, writes each once to its new place: for f32 24 bytes
// and some 14 operations for one element of each, so memory decides; a head is read twice (mean
// square, result), the second time from the first-level cache. f32 arithmetic, no fused
// multiply-add and sums in one order (math/norm.h), so that all instruction sets agree. No
// alignment beyond the element's.
//
// Measured, one core of a virtual Zen 4, GCC 12, November 2026, q, k and v, baseline / AVX2 /
// AVX-512 / AVX512-BF16: 105 tokens of 6 x 32 f32 35 / 24 / 16 / 16 us, bf16 85 / 44 / 26 / 21 us;
// 4608 tokens of 24 x 128 25 ms in f32, 16 ms in bf16 (copies of as much: 17 and 6 ms).
#include <cstdint>
#include <utility>

#include "cpu/isa.h"
#include "cpu/qk_norm_rope.h"
#include "cpu/vectors.h"
#include "math/norm.h"
#include "math/rope.h"

namespace glance {
namespace {

template <int... kLane>
GLANCE_MATH Floats minus_plus(std::integer_sequence<int, kLane...>) {
  return Floats{(kLane % 2 == 0 ? -1.0f : 1.0f)...};
}

// One head of q or k. rotation: dim floats, cos and sin in turn.
template <typename In, typename Out>
GLANCE_MATH void norm_and_rotate(const In *__restrict x, const In *__restrict weight,
                                 const float *__restrict rotation, Out *__restrict out, int64_t dim,
                                 float epsilon) {
  const float squares = row_sum(x, dim, 0.0f, [](Floats v) { return v * v; });
  const float inverse = inverse_root_mean(squares, dim, epsilon);
  const Floats signs = minus_plus(Lanes());
  for_vectors(dim, [=](int64_t i, auto part) {
    const Floats n = normalized(load(x + i, part), 0.0f, inverse) * load(weight + i, part);
    const Floats turn = load(rotation + i, part);
    const Floats cos = permuted<Even>(turn);
    const Floats sin = permuted<Odd>(turn) * signs;
    store(out + i, rotated(n, permuted<Other>(n), cos, sin), part);
  });
}

template <typename In, typename Out>
void convert(const In *__restrict x, Out *__restrict out, int64_t dim) {
  for_vectors(dim, [=](int64_t i, auto part) { store(out + i, load(x + i, part), part); });
}

template <typename In, typename Out>
void for_tokens(const glance_qk_norm_rope_args &a, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t batch = r / a.tokens;
    const int64_t token = r % a.tokens;
    const int64_t from = batch * a.in_batch_stride + token * a.in_token_stride;
    const int64_t to = batch * a.out_batch_stride + token * a.out_token_stride;
    const auto turn = [&](const void *x, const void *weight, void *out) {
      for (int64_t h = 0; h < a.heads; ++h) {
        norm_and_rotate(static_cast<const In *>(x) + from + h * a.dim,
                        static_cast<const In *>(weight), a.rotation + token * a.dim,
                        static_cast<Out *>(out) + to + h * a.out_head_stride, a.dim, a.epsilon);
      }
    };
    turn(a.q, a.q_weight, a.q_out);
    turn(a.k, a.k_weight, a.k_out);
    if (a.v == nullptr) continue;
    for (int64_t h = 0; h < a.heads; ++h) {
      convert(static_cast<const In *>(a.v) + from + h * a.dim,
              static_cast<Out *>(a.v_out) + to + h * a.out_head_stride, a.dim);
    }
  }
}

}  // namespace

void GLANCE_FOR_ISA(qk_norm_rope_rows)(const glance_qk_norm_rope_args &args, int64_t begin,
                                       int64_t end) noexcept {
  const bool from_wide = args.dtype == GLANCE_F32;
  const bool to_wide = args.out_dtype == GLANCE_F32;
  if (from_wide && to_wide) return for_tokens<float, float>(args, begin, end);
  if (from_wide) return for_tokens<float, bf16>(args, begin, end);
  if (to_wide) return for_tokens<bf16, float>(args, begin, end);
  for_tokens<bf16, bf16>(args, begin, end);
}

}  // namespace glance
