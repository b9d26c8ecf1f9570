// flow_step on CUDA.
//
// Formula: glance/flow_step.h. Matrices of rows x columns, row-major with a stride; 1024 x 1024
// pixels are 4096 rows of 64 columns. At 16 bytes and some 6 operations an f32 element with CFG
// that is 4 MB, a microsecond of memory traffic: the launch costs more than the work, so the point
// is one launch, no synchronisation and no allocation (it may be captured in a graph). Accumulation
// in f32, with no fused multiply-add (-fmad=false for this file). No alignment beyond the
// element's.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>

#include "cuda/device.h"
#include "cuda/flow_step.h"
#include "math/flow_step.h"

namespace glance {
namespace {

constexpr int kThreads = 256;
// Enough to fill any current device; loops take the rest, so the grid never exceeds its limits.
constexpr int64_t kMaxBlocks = 4096;

template <typename Latent, typename Velocity>
struct Arguments {
  Latent *latents;
  const Velocity *positive;
  const Velocity *negative;
  bf16 *copy;
  int64_t rows, columns;
  int64_t latents_stride, positive_stride, negative_stride, copy_stride;
  float scale, dt;
};

template <typename Latent, typename Velocity, bool kEach>
__device__ void store(const Arguments<Latent, Velocity> &a, int64_t row, int64_t column, float v) {
  Latent *latent = a.latents + row * a.latents_stride + column;
  const float next = euler<Velocity, kEach>(to_f32(*latent), v, a.dt);
  *latent = from_f32<Latent>(next);
  if (a.copy != nullptr) a.copy[row * a.copy_stride + column] = from_f32<bf16>(next);
}

// One thread an element: NONE and PLAIN.
template <typename Latent, typename Velocity, bool kEach, bool kCfg>
__global__ void __launch_bounds__(kThreads)
    flow_step_elements(const Arguments<Latent, Velocity> a) {
  const int64_t elements = a.rows * a.columns;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += step) {
    const int64_t row = i / a.columns;
    const int64_t column = i - row * a.columns;
    float v = to_f32(a.positive[row * a.positive_stride + column]);
    if constexpr (kCfg) {
      const float negative = to_f32(a.negative[row * a.negative_stride + column]);
      v = cfg_combine<Velocity, kEach>(v, negative, a.scale);
    }
    store<Latent, Velocity, kEach>(a, row, column, v);
  }
}

// Folds the partial sums of a row's lanes as kNormLanes says; every lane gets the result.
__device__ float folded(float sum) {
  for (int half = kNormLanes / 2; half > 0; half /= 2) {
    sum += __shfl_down_sync(0xFFFFFFFFu, sum, half, kNormLanes);
  }
  return __shfl_sync(0xFFFFFFFFu, sum, 0, kNormLanes);
}

// kNormLanes threads a row: RESCALED. All threads of a warp run the same number of turns, so that
// the shuffles have all their lanes.
template <typename Latent, typename Velocity, bool kEach>
__global__ void __launch_bounds__(kThreads)
    flow_step_rescaled(const Arguments<Latent, Velocity> a) {
  constexpr int kRows = kThreads / kNormLanes;
  const int lane = threadIdx.x % kNormLanes;
  for (int64_t first = int64_t{blockIdx.x} * kRows; first < a.rows;
       first += int64_t{gridDim.x} * kRows) {
    const int64_t row = first + threadIdx.x / kNormLanes;
    const int64_t columns = row < a.rows ? a.columns : 0;
    const Velocity *positive = a.positive + row * a.positive_stride;
    const Velocity *negative = a.negative + row * a.negative_stride;
    const auto combined = [&](int64_t i) {
      return cfg_combine<Velocity, kEach>(to_f32(positive[i]), to_f32(negative[i]), a.scale);
    };
    float positive_squares = 0.0f;
    float combined_squares = 0.0f;
    for (int64_t i = lane; i < columns; i += kNormLanes) {
      const float p = to_f32(positive[i]);
      const float c = combined(i);
      positive_squares += p * p;
      combined_squares += c * c;
    }
    const float factor =
        cfg_rescale_factor<Velocity, kEach>(folded(positive_squares), folded(combined_squares));
    for (int64_t i = lane; i < columns; i += kNormLanes) {
      const float v = intermediate<Velocity, kEach>(combined(i) * factor);
      store<Latent, Velocity, kEach>(a, row, i, v);
    }
  }
}

unsigned blocks(int64_t work, int64_t per_block) {
  return static_cast<unsigned>(std::min((work - 1) / per_block + 1, kMaxBlocks));
}

template <typename Latent, typename Velocity, bool kEach>
void launch(const glance_flow_step_args &g, cudaStream_t stream) {
  const Arguments<Latent, Velocity> a = {static_cast<Latent *>(g.latents),
                                         static_cast<const Velocity *>(g.v_pos),
                                         static_cast<const Velocity *>(g.v_neg),
                                         static_cast<bf16 *>(g.latents_bf16),
                                         g.rows,
                                         g.columns,
                                         g.latents_stride,
                                         g.v_pos_stride,
                                         g.v_neg_stride,
                                         g.latents_bf16_stride,
                                         g.cfg_scale,
                                         g.sigma_next - g.sigma};
  const unsigned elements = blocks(g.rows * g.columns, kThreads);
  switch (g.cfg_mode) {
    case GLANCE_CFG_PLAIN:
      flow_step_elements<Latent, Velocity, kEach, true><<<elements, kThreads, 0, stream>>>(a);
      break;
    case GLANCE_CFG_RESCALED:
      flow_step_rescaled<Latent, Velocity, kEach>
          <<<blocks(g.rows, kThreads / kNormLanes), kThreads, 0, stream>>>(a);
      break;
    default:
      flow_step_elements<Latent, Velocity, kEach, false><<<elements, kThreads, 0, stream>>>(a);
  }
}

template <typename Latent>
void for_velocity(const glance_flow_step_args &g, cudaStream_t stream) {
  if (g.velocity_dtype == GLANCE_F32) return launch<Latent, float, false>(g, stream);
  if (g.rounding == GLANCE_ROUND_EACH) return launch<Latent, bf16, true>(g, stream);
  launch<Latent, bf16, false>(g, stream);
}

}  // namespace

glance_status flow_step_cuda(const glance_flow_step_args &args, void *stream) noexcept {
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  const auto queue = static_cast<cudaStream_t>(stream);
  if (args.latents_dtype == GLANCE_F32) {
    for_velocity<float>(args, queue);
  } else {
    for_velocity<bf16>(args, queue);
  }
  return cuda_status("flow_step: launch", cudaGetLastError());
}

}  // namespace glance
