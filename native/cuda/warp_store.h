// The end of a LoRA linear: a warp's sums become rows of y. BF16 and F16.
#pragma once

#include "cuda/lora_params.h"
#include "cuda/ptx.h"

namespace glance {

// Rows of a warp's tile: those of an mma or wgmma accumulator.
constexpr int kStoreRows = 16;

// kColumns columns of a warp's tile, staged in shared memory on their way between global memory,
// which wants whole rows, and the accumulators, where a thread has two columns of each eight. Place
// c of 16 bytes in row r lies at c ^ turn(r), so that neither way has bank conflicts.
template <int kColumns>
struct Stage {
  static constexpr int kPlaces = kColumns / 8;
  static constexpr int kRowBytes = kColumns * 2;
  static constexpr int kBytes = kStoreRows * kRowBytes;
  static_assert(kPlaces == 4 || kPlaces == 8 || kPlaces >= 16);

  unsigned char *base;

  __device__ static int turn(int row) { return kPlaces == 4 ? row / 2 % 4 : row % 8; }
  __device__ uint4 *place(int row, int place) const {
    return reinterpret_cast<uint4 *>(base + row * kRowBytes + (place ^ turn(row)) * 16);
  }
  // The two columns that a lane has in its group of eight.
  __device__ uint32_t *pair(int row, int group, int lane) const {
    return reinterpret_cast<uint32_t *>(place(row, group)) + lane % 4;
  }
};

GLANCE_DEVICE bool in_sixteens(const void *data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0;
}

// Calls copy(global element, staged place, how many of its 8 columns there are) for each place of
// `count` rows, neighbouring lanes side by side. `data` is at the tile's first element.
template <int kColumns, typename Element, typename Copy>
__device__ __forceinline__ void for_places(const Stage<kColumns> &stage, Element *data,
                                           int64_t stride, int32_t count, int32_t columns, int lane,
                                           const Copy &copy) {
  constexpr int kPlaces = Stage<kColumns>::kPlaces;
#pragma unroll 1  // the sums need the registers
  for (int i = lane; i < kStoreRows * kPlaces; i += 32) {
    const int row = i / kPlaces;
    const int place = i % kPlaces;
    const int32_t left = columns - place * 8;
    if (row < count && left > 0) {
      copy(data + row * stride + place * 8, stage.place(row, place), left < 8 ? left : 8);
    }
  }
}

struct CopyIn {
  bool aligned;
  __device__ void operator()(const uint16_t *global, uint4 *staged, int columns) const {
    if (aligned) {
      copy_async_16(staged, global, 2 * columns);
    } else {
      for (int e = 0; e < columns; ++e) reinterpret_cast<uint16_t *>(staged)[e] = global[e];
    }
  }
};

struct CopyOut {
  bool aligned;
  __device__ void operator()(uint16_t *global, const uint4 *staged, int columns) const {
    if (aligned && columns == 8) {
      *reinterpret_cast<uint4 *>(global) = *staged;
    } else {
      for (int e = 0; e < columns; ++e) {
        global[e] = reinterpret_cast<const uint16_t *>(staged)[e];
      }
    }
  }
};

struct Pair {
  float first;
  float second;
};

template <typename T>
__device__ __forceinline__ Pair unpacked(uint32_t two) {
  return {to_f32(T{static_cast<uint16_t>(two)}), to_f32(T{static_cast<uint16_t>(two >> 16)})};
}

// Elements 0 and 1 behind data, of which there are only `left`; null is zeros.
template <typename T>
__device__ __forceinline__ Pair pair_at(const T *data, int32_t left) {
  if (data == nullptr || left <= 0) return {0.0f, 0.0f};
  if (left > 1 && reinterpret_cast<uintptr_t>(data) % 4 == 0) {
    return unpacked<T>(*reinterpret_cast<const uint32_t *>(data));
  }
  return {to_f32(data[0]), left > 1 ? to_f32(data[1]) : 0.0f};
}

// sums[4 i + 2 j] and the next: row lane / 4 + 8 j, columns 8 i + 2 (lane % 4) and the next. The
// tile is rows row to row + count - 1 (at most 16; none if count is not above 0) and kColumns
// columns from `column`, cut at the linear's N. `stage` is the warp's own.
template <typename T, int kEpilogue, int kColumns>
__device__ __forceinline__ void store_columns(const LinearParams &l, const float *sums, int32_t row,
                                              int32_t count, int32_t column,
                                              const Stage<kColumns> &stage, int lane) {
  constexpr bool kGated = kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
  const int32_t columns = l.n - column;
  if constexpr (kGated) {
    const auto *residual =
        static_cast<const uint16_t *>(l.residual) + row * l.residual_stride + column;
    for_places<kColumns>(stage, residual, l.residual_stride, count, columns, lane,
                         CopyIn{in_sixteens(residual, l.residual_stride)});
    copy_async_commit();
    copy_async_wait<0>();
    warp_sync();
  }
  const T *bias = static_cast<const T *>(l.bias);
  const T *gates[2] = {};
#pragma unroll
  for (int j = 0; j < 2 && kGated; ++j) {
    const int64_t own = lane / 4 + 8 * j < count ? row + lane / 4 + 8 * j : row;
    gates[j] = static_cast<const T *>(l.gate) + own / l.rows_per_gate * l.gate_stride + column;
  }
#pragma unroll
  for (int i = 0; i < kColumns / 8; ++i) {
    const int offset = 8 * i + 2 * (lane % 4);
    const Pair b = pair_at(bias == nullptr ? nullptr : bias + column + offset, columns - offset);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      uint32_t *staged = stage.pair(lane / 4 + 8 * j, i, lane);
      Pair gate = {};
      Pair residual = {};
      if constexpr (kGated) {
        gate = pair_at(gates[j] + offset, columns - offset);
        residual = unpacked<T>(*staged);
      }
      *staged = pack_two<T>(
          finished<kEpilogue>(sums[4 * i + 2 * j], b.first, gate.first, residual.first),
          finished<kEpilogue>(sums[4 * i + 2 * j + 1], b.second, gate.second, residual.second));
    }
  }
  warp_sync();
  auto *y = static_cast<uint16_t *>(l.y) + row * l.y_stride + column;
  for_places<kColumns>(stage, y, l.y_stride, count, columns, lane,
                       CopyOut{in_sixteens(y, l.y_stride)});
  warp_sync();
}

// The same for any number of columns, kColumns at a time, with the linear's epilogue.
template <typename T, int kColumns, int kSums>
__device__ __forceinline__ void store_tile(const LinearParams &l, const float (&sums)[kSums],
                                           int32_t row, int32_t count, int32_t column,
                                           const Stage<kColumns> &stage, int lane) {
  constexpr int kPart = kColumns / 2;
#pragma unroll
  for (int i = 0; i < kSums / kPart; ++i) {
    const int32_t at = column + i * kColumns;
    if (at >= l.n || count <= 0) return;
    switch (l.epilogue) {
      case GLANCE_EPILOGUE_GELU_TANH:
        store_columns<T, GLANCE_EPILOGUE_GELU_TANH>(l, sums + i * kPart, row, count, at, stage,
                                                    lane);
        break;
      case GLANCE_EPILOGUE_GATED_RESIDUAL:
        store_columns<T, GLANCE_EPILOGUE_GATED_RESIDUAL>(l, sums + i * kPart, row, count, at, stage,
                                                         lane);
        break;
      default:
        store_columns<T, GLANCE_EPILOGUE_NONE>(l, sums + i * kPart, row, count, at, stage, lane);
    }
  }
}

}  // namespace glance
