// qk_norm_rope on CUDA.
//
// Formula: glance/qk_norm_rope.h, which also gives the layouts: 64 tokens of 6 heads of 32 to 9216
// tokens of 24 heads of 128. Reads q, k and v, writes each once to its new place, in one kernel:
// for bf16 12 bytes and some 14 operations for one element of each, so memory decides; the weights
// and a token's rotation, which all its heads share, come from the caches. All in f32. Where
// pointers, strides and dim allow, elements are moved 16 bytes at a time, else one by one. Not
// measured yet.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/status.h"
#include "cuda/device.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/qk_norm_rope.h"
#include "cuda/row_vectors.h"
#include "math/norm.h"
#include "math/rope.h"

namespace glance {
namespace {

constexpr int kThreads = 256;

struct RopeParams {
  const void *q, *k, *v;
  const void *q_weight, *k_weight;
  const float *rotation;
  void *q_out, *k_out, *v_out;
  // batch * tokens * heads: below 2^31, as a division of 64 bits costs more than the rest.
  uint32_t items;
  uint32_t tokens, heads;
  int64_t dim;
  int64_t in_batch_stride, in_token_stride;
  int64_t out_batch_stride, out_head_stride, out_token_stride;
  float epsilon;
  // Of one head, a power of two.
  int32_t lanes;
};

// kCount neighbours, an even number; one by one unless kAligned.
template <bool kAligned, typename T, int kCount>
__device__ __forceinline__ void load(float (&values)[kCount], const T *from) {
  if constexpr (kAligned) {
    load_elements(values, from);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] = to_f32(from[i]);
  }
}

template <bool kAligned, typename T, int kCount>
__device__ __forceinline__ void store(T *to, const float (&values)[kCount]) {
  if constexpr (kAligned) {
    store_elements(to, values);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from_f32<T>(values[i]);
  }
}

// What a lane has of a head: kCount elements from `first` on, and then every `step`-th such place.
struct Share {
  int64_t first;
  int64_t step;
  int64_t dim;
};

// One head of q or k. x_first: what is at share.first, if there is anything.
template <bool kAligned, typename In, typename Out, int kCount>
__device__ __forceinline__ void norm_and_rotate(const In *x, const float (&x_first)[kCount],
                                                const In *weight, const float *rotation, Out *out,
                                                const Share &share, int lanes, float epsilon) {
  float squares = 0.0f;
#pragma unroll 1
  for (int64_t i = share.first; i < share.dim; i += share.step) {
    float values[kCount];
    if (i != share.first) load<kAligned>(values, x + i);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const float value = i == share.first ? x_first[e] : values[e];
      squares += value * value;
    }
  }
  for (int half = lanes / 2; half > 0; half /= 2) squares += shuffle_xor(squares, half);
  const float inverse = inverse_root_mean(squares, share.dim, epsilon);
#pragma unroll 1
  for (int64_t i = share.first; i < share.dim; i += share.step) {
    float values[kCount];
    float weights[kCount];
    float turn[kCount];
    if (i != share.first) load<kAligned>(values, x + i);
    load<kAligned>(weights, weight + i);
    load<kAligned>(turn, rotation + i);
    float rotated_values[kCount];
#pragma unroll
    for (int e = 0; e < kCount; e += 2) {
      const float even = i == share.first ? x_first[e] : values[e];
      const float odd = i == share.first ? x_first[e + 1] : values[e + 1];
      const float n = normalized(even, 0.0f, inverse) * weights[e];
      const float m = normalized(odd, 0.0f, inverse) * weights[e + 1];
      rotated_values[e] = rotated(n, m, turn[e], -turn[e + 1]);
      rotated_values[e + 1] = rotated(m, n, turn[e], turn[e + 1]);
    }
    store<kAligned>(out + i, rotated_values);
  }
}

// p.lanes lanes for one head of one token, of q, k and v. A lane without a head stays for the
// shuffles.
template <typename In, typename Out, int kCount, bool kAligned>
__global__ void __launch_bounds__(kThreads) qk_norm_rope_heads(const RopeParams p) {
  const int lanes = p.lanes;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const auto per_block = static_cast<uint32_t>(kThreads / lanes);
  const uint32_t item = blockIdx.x * per_block + threadIdx.x / static_cast<uint32_t>(lanes);
  // A lane without a head has the first one's addresses and none of its elements.
  const bool idle = item >= p.items;
  const uint32_t index = idle ? 0 : item / p.heads;
  const int64_t head = idle ? 0 : item - index * p.heads;
  const int64_t batch = index / p.tokens;
  const int64_t token = index % p.tokens;
  const int64_t from = batch * p.in_batch_stride + token * p.in_token_stride + head * p.dim;
  const int64_t to =
      batch * p.out_batch_stride + token * p.out_token_stride + head * p.out_head_stride;
  const Share share = {int64_t{lane} * kCount, int64_t{lanes} * kCount, idle ? 0 : p.dim};
  const In *q = static_cast<const In *>(p.q) + from;
  const In *k = static_cast<const In *>(p.k) + from;
  // What is usually all a lane has of q and k is on its way before it is used, and so is v's before
  // k is: with all three the square root's slow path would have registers to save on some devices.
  const bool any = share.first < share.dim;
  float q_first[kCount] = {};
  float k_first[kCount] = {};
  if (any) {
    load<kAligned>(q_first, q + share.first);
    load<kAligned>(k_first, k + share.first);
  }
  const float *rotation = p.rotation + token * p.dim;
  norm_and_rotate<kAligned>(q, q_first, static_cast<const In *>(p.q_weight), rotation,
                            static_cast<Out *>(p.q_out) + to, share, lanes, p.epsilon);
  float v_first[kCount] = {};
  if (any && p.v != nullptr) {
    load<kAligned>(v_first, static_cast<const In *>(p.v) + from + share.first);
  }
  norm_and_rotate<kAligned>(k, k_first, static_cast<const In *>(p.k_weight), rotation,
                            static_cast<Out *>(p.k_out) + to, share, lanes, p.epsilon);
  if (p.v == nullptr || !any) return;
  const In *v = static_cast<const In *>(p.v) + from;
  Out *v_out = static_cast<Out *>(p.v_out) + to;
  store<kAligned>(v_out + share.first, v_first);
#pragma unroll 1
  for (int64_t i = share.first + share.step; i < share.dim; i += share.step) {
    float values[kCount];
    load<kAligned>(values, v + i);
    store<kAligned>(v_out + i, values);
  }
}

template <typename In, typename Out, int kCount, bool kAligned>
cudaError_t run_heads(RopeParams p, cudaStream_t stream) {
  p.lanes = 1;
  while (p.lanes < 32 && int64_t{p.lanes} * kCount < p.dim) p.lanes *= 2;
  const auto per_block = static_cast<uint32_t>(kThreads / p.lanes);
  LaunchShape shape;
  shape.grid = dim3((p.items - 1) / per_block + 1);
  shape.block = dim3(kThreads);
  return launch(shape, stream, qk_norm_rope_heads<In, Out, kCount, kAligned>, p);
}

template <typename In, typename Out>
cudaError_t run(const glance_qk_norm_rope_args &g, cudaStream_t stream) {
  const RopeParams p = {g.q,
                        g.k,
                        g.v,
                        g.q_weight,
                        g.k_weight,
                        g.rotation,
                        g.q_out,
                        g.k_out,
                        g.v_out,
                        static_cast<uint32_t>(g.batch * g.tokens * g.heads),
                        static_cast<uint32_t>(g.tokens),
                        static_cast<uint32_t>(g.heads),
                        g.dim,
                        g.in_batch_stride,
                        g.in_token_stride,
                        g.out_batch_stride,
                        g.out_head_stride,
                        g.out_token_stride,
                        g.epsilon,
                        0};
  constexpr int kCount = kVectorOf<In, Out>;
  // The stride of an axis with one entry says nothing.
  const int64_t in_tokens = g.tokens == 1 ? 0 : g.in_token_stride;
  const int64_t in_batches = g.batch == 1 ? 0 : g.in_batch_stride;
  const int64_t out_tokens = g.tokens == 1 ? 0 : g.out_token_stride;
  const int64_t out_heads = g.heads == 1 ? 0 : g.out_head_stride;
  const int64_t out_batches = g.batch == 1 ? 0 : g.out_batch_stride;
  const auto input = [&](const void *data) {
    return fits_vectors(data, in_tokens, kCount, sizeof(In)) && in_batches % kCount == 0;
  };
  const auto output = [&](const void *data) {
    return fits_vectors(data, out_tokens, kCount, sizeof(Out)) && out_heads % kCount == 0 &&
           out_batches % kCount == 0;
  };
  const bool aligned = g.dim % kCount == 0 && input(g.q) && input(g.k) && input(g.v) &&
                       input(g.q_weight) && input(g.k_weight) && output(g.q_out) &&
                       output(g.k_out) && output(g.v_out) &&
                       fits_vectors(g.rotation, 0, 4, sizeof(float));
  if (aligned) return run_heads<In, Out, kCount, true>(p, stream);
  return run_heads<In, Out, 2, false>(p, stream);
}

template <typename In>
cudaError_t for_output(const glance_qk_norm_rope_args &g, cudaStream_t stream) {
  switch (g.out_dtype) {
    case GLANCE_BF16:
      return run<In, bf16>(g, stream);
    case GLANCE_F16:
      return run<In, f16>(g, stream);
    default:
      return run<In, float>(g, stream);
  }
}

cudaError_t for_input(const glance_qk_norm_rope_args &g, cudaStream_t stream) {
  switch (g.dtype) {
    case GLANCE_BF16:
      return for_output<bf16>(g, stream);
    case GLANCE_F16:
      return for_output<f16>(g, stream);
    default:
      return for_output<float>(g, stream);
  }
}

}  // namespace

glance_status qk_norm_rope_cuda(const glance_qk_norm_rope_args &args, void *stream) noexcept {
  const int64_t items = args.batch * args.tokens * args.heads;
  if (items > INT32_MAX) {
    return fail(GLANCE_UNSUPPORTED, "qk_norm_rope: batch * tokens * heads is %lld; %d is the most",
                static_cast<long long>(items), INT32_MAX);
  }
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  return cuda_status("qk_norm_rope: launch", for_input(args, static_cast<cudaStream_t>(stream)));
}

}  // namespace glance
