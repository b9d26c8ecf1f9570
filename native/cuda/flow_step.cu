// flow_step on CUDA.
//
// Formula: glance/flow_step.h. Matrices of rows x columns, row-major with a stride; 1024 x 1024
// pixels are 4096 rows of 64 columns. At 16 bytes and some 6 operations an f32 element with CFG
// that is 4 MB, a microsecond of memory traffic: there the launch costs more than the work, so
// there is one launch, and a captured graph may have it read its sigmas from device memory.
// Accumulation in f32, with no fused multiply-add (-fmad=false for this file), so that the bits are
// the CPU's. Where all pointers, strides and columns allow, elements are moved 16 bytes at a time,
// else one by one. Not measured yet.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/device.h"
#include "cuda/flow_step.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/row_vectors.h"
#include "math/flow_step.h"

namespace glance {
namespace {

constexpr int kThreads = 256;
// Vectors of one thread: all are loaded before the first is computed, for more bytes in flight.
constexpr int kVectors = 2;
// Loops take what is more, so the grid never exceeds its limits.
constexpr int64_t kMaxBlocks = 1 << 30;

template <typename Latent, typename Velocity>
struct FlowParams {
  Latent *latents;
  const Velocity *positive;
  const Velocity *negative;
  bf16 *copy;
  int64_t rows, columns;
  int64_t latents_stride, positive_stride, negative_stride, copy_stride;
  float sigma, sigma_next, scale;
  const float *schedule;
};

struct Step {
  float dt;
  float scale;
};

template <typename Latent, typename Velocity>
__device__ __forceinline__ Step step_of(const FlowParams<Latent, Velocity> &p) {
  if (p.schedule == nullptr) return {p.sigma_next - p.sigma, p.scale};
  return {p.schedule[1] - p.schedule[0], p.schedule[2]};
}

struct Place {
  int64_t row;
  int64_t column;
};

// NONE and PLAIN: kCount elements at a time, which divides columns.
template <typename Latent, typename Velocity, bool kEach, bool kCfg, int kCount>
__global__ void __launch_bounds__(kThreads)
    flow_step_elements(const FlowParams<Latent, Velocity> p) {
  const Step step = step_of(p);
  const int64_t per_row = p.columns / kCount;
  const int64_t total = p.rows * per_row;
  const int64_t turn = int64_t{gridDim.x} * kVectors * kThreads;
  for (int64_t first = int64_t{blockIdx.x} * kVectors * kThreads + threadIdx.x; first < total;
       first += turn) {
    // A division costs more than the rest, and all registers that are in use around it; one long
    // row needs none.
    Place places[kVectors];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t index = first + v * kThreads;
      const int64_t row = p.rows == 1 ? 0 : index / per_row;
      places[v] = {row, (index - row * per_row) * kCount};
    }
    float latents[kVectors][kCount];
    float positive[kVectors][kCount];
    float negative[kVectors][kCount];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      if (first + v * kThreads >= total) continue;
      const Place at = places[v];
      load_elements(latents[v], p.latents + at.row * p.latents_stride + at.column);
      load_elements(positive[v], p.positive + at.row * p.positive_stride + at.column);
      if constexpr (kCfg) {
        load_elements(negative[v], p.negative + at.row * p.negative_stride + at.column);
      }
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      if (first + v * kThreads >= total) continue;
      float next[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        float velocity = positive[v][i];
        if constexpr (kCfg) {
          velocity = cfg_combine<Velocity, kEach>(velocity, negative[v][i], step.scale);
        }
        next[i] = euler<Velocity, kEach>(latents[v][i], velocity, step.dt);
      }
      const Place at = places[v];
      store_elements(p.latents + at.row * p.latents_stride + at.column, next);
      if (p.copy != nullptr) store_elements(p.copy + at.row * p.copy_stride + at.column, next);
    }
  }
}

// The partial sums of a row's lanes, folded as kNormLanes says; every lane gets the result, for a
// sum has the same bits whichever of its two terms comes first.
__device__ __forceinline__ float folded(float sum) {
#pragma unroll
  for (int half = kNormLanes / 2; half > 0; half /= 2) sum += shuffle_xor(sum, half);
  return sum;
}

// Elements that a lane of RESCALED keeps in registers: rows of up to 128 are read once.
constexpr int kHeld = 8;

// RESCALED: kNormLanes threads a row, of which lane l has the elements i with i % kNormLanes == l,
// in their order. All threads of a warp run the same number of turns, so that the shuffles have all
// their lanes.
template <typename Latent, typename Velocity, bool kEach>
__global__ void __launch_bounds__(kThreads)
    flow_step_rescaled(const FlowParams<Latent, Velocity> p) {
  constexpr int kRows = kThreads / kNormLanes;
  constexpr int kHeldColumns = kHeld * kNormLanes;
  const Step step = step_of(p);
  const int lane = static_cast<int>(threadIdx.x) % kNormLanes;
  for (int64_t first = int64_t{blockIdx.x} * kRows; first < p.rows;
       first += int64_t{gridDim.x} * kRows) {
    const int64_t row = first + threadIdx.x / kNormLanes;
    const int64_t columns = row < p.rows ? p.columns : 0;
    const Velocity *positive_row = p.positive + row * p.positive_stride;
    const Velocity *negative_row = p.negative + row * p.negative_stride;
    float positive[kHeld];
    float combined[kHeld];
    const auto load = [&](int64_t begin) {
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int64_t column = begin + i * kNormLanes;
        const bool inside = column < columns;
        positive[i] = inside ? to_f32(positive_row[column]) : 0.0f;
        combined[i] = inside ? to_f32(negative_row[column]) : 0.0f;
      }
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        combined[i] = cfg_combine<Velocity, kEach>(positive[i], combined[i], step.scale);
      }
    };
    float positive_squares = 0.0f;
    float combined_squares = 0.0f;
    for (int64_t begin = lane; begin < columns; begin += kHeldColumns) {
      load(begin);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        if (begin + i * kNormLanes >= columns) continue;
        positive_squares += positive[i] * positive[i];
        combined_squares += combined[i] * combined[i];
      }
    }
    const float factor =
        cfg_rescale_factor<Velocity, kEach>(folded(positive_squares), folded(combined_squares));
    for (int64_t begin = lane; begin < columns; begin += kHeldColumns) {
      if (columns > kHeldColumns) load(begin);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int64_t column = begin + i * kNormLanes;
        if (column >= columns) continue;
        Latent *latent = p.latents + row * p.latents_stride + column;
        const float velocity = intermediate<Velocity, kEach>(combined[i] * factor);
        const float next = euler<Velocity, kEach>(to_f32(*latent), velocity, step.dt);
        *latent = from_f32<Latent>(next);
        if (p.copy != nullptr) p.copy[row * p.copy_stride + column] = from_f32<bf16>(next);
      }
    }
  }
}

template <typename Latent, typename Velocity>
bool contiguous(const FlowParams<Latent, Velocity> &p) {
  return p.latents_stride == p.columns && p.positive_stride == p.columns &&
         (p.negative == nullptr || p.negative_stride == p.columns) &&
         (p.copy == nullptr || p.copy_stride == p.columns);
}

template <typename Latent, typename Velocity>
bool in_vectors(const FlowParams<Latent, Velocity> &p, int count) {
  return p.columns % count == 0 &&
         fits_vectors(p.latents, p.latents_stride, count, sizeof(Latent)) &&
         fits_vectors(p.positive, p.positive_stride, count, sizeof(Velocity)) &&
         fits_vectors(p.negative, p.negative_stride, count, sizeof(Velocity)) &&
         fits_vectors(p.copy, p.copy_stride, count, sizeof(bf16));
}

LaunchShape shape_of(int64_t work, int64_t per_block) {
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(std::min((work - 1) / per_block + 1, kMaxBlocks)));
  shape.block = dim3(kThreads);
  return shape;
}

template <typename Latent, typename Velocity, bool kEach, bool kCfg>
cudaError_t run_elements(FlowParams<Latent, Velocity> p, cudaStream_t stream) {
  if (contiguous(p)) {
    p.columns *= p.rows;
    p.rows = 1;
    p.latents_stride = p.positive_stride = p.negative_stride = p.copy_stride = 0;
  }
  constexpr int kCount = kVectorOf<Latent, Velocity>;
  const int64_t elements = p.rows * p.columns;
  if (in_vectors(p, kCount)) {
    return launch(shape_of(elements / kCount, kVectors * kThreads), stream,
                  flow_step_elements<Latent, Velocity, kEach, kCfg, kCount>, p);
  }
  return launch(shape_of(elements, kVectors * kThreads), stream,
                flow_step_elements<Latent, Velocity, kEach, kCfg, 1>, p);
}

template <typename Latent, typename Velocity, bool kEach>
cudaError_t run(const glance_flow_step_args &g, cudaStream_t stream) {
  const FlowParams<Latent, Velocity> p = {static_cast<Latent *>(g.latents),
                                          static_cast<const Velocity *>(g.v_pos),
                                          static_cast<const Velocity *>(g.v_neg),
                                          static_cast<bf16 *>(g.latents_bf16),
                                          g.rows,
                                          g.columns,
                                          g.latents_stride,
                                          g.v_pos_stride,
                                          g.v_neg_stride,
                                          g.latents_bf16_stride,
                                          g.sigma,
                                          g.sigma_next,
                                          g.cfg_scale,
                                          g.schedule};
  switch (g.cfg_mode) {
    case GLANCE_CFG_PLAIN:
      return run_elements<Latent, Velocity, kEach, true>(p, stream);
    case GLANCE_CFG_RESCALED:
      return launch(shape_of(g.rows, kThreads / kNormLanes), stream,
                    flow_step_rescaled<Latent, Velocity, kEach>, p);
    default:
      return run_elements<Latent, Velocity, kEach, false>(p, stream);
  }
}

template <typename Latent>
cudaError_t for_velocity(const glance_flow_step_args &g, cudaStream_t stream) {
  const bool each = g.rounding == GLANCE_ROUND_EACH;
  switch (g.velocity_dtype) {
    case GLANCE_BF16:
      return each ? run<Latent, bf16, true>(g, stream) : run<Latent, bf16, false>(g, stream);
    case GLANCE_F16:
      return each ? run<Latent, f16, true>(g, stream) : run<Latent, f16, false>(g, stream);
    default:
      return run<Latent, float, false>(g, stream);
  }
}

cudaError_t for_latents(const glance_flow_step_args &g, cudaStream_t stream) {
  switch (g.latents_dtype) {
    case GLANCE_BF16:
      return for_velocity<bf16>(g, stream);
    case GLANCE_F16:
      return for_velocity<f16>(g, stream);
    default:
      return for_velocity<float>(g, stream);
  }
}

}  // namespace

glance_status flow_step_cuda(const glance_flow_step_args &args, void *stream) noexcept {
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  return cuda_status("flow_step: launch", for_latents(args, static_cast<cudaStream_t>(stream)));
}

}  // namespace glance
