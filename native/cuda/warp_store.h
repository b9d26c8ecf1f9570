// The end of a LoRA linear: a warp's sums become rows of y. BF16 and F16.
#pragma once

#include "cuda/lora_params.h"
#include "cuda/ptx.h"

namespace glance {

// Rows of a warp's tile: those of an mma or wgmma accumulator.
constexpr int kStoreRows = 16;

// A tile is stored in parts of so many columns.
constexpr int kPartColumns = 32;

// A part of a warp's tile, staged in shared memory on its way between global memory, which wants
// whole rows, and the accumulators, where a thread has two columns of each eight. Place c of 16
// bytes in row r lies at c ^ (r / 2 % 4), so that neither way has bank conflicts.
struct Stage {
  static constexpr int kPlaces = kPartColumns / 8;
  static constexpr int kRowBytes = kPartColumns * 2;
  static constexpr int kBytes = kStoreRows * kRowBytes;

  unsigned char *base;

  __device__ uint4 *place(int row, int place) const {
    return reinterpret_cast<uint4 *>(base + row * kRowBytes + (place ^ row / 2 % 4) * 16);
  }
  // The two columns that a lane has in its group of eight.
  __device__ uint32_t *pair(int row, int group, int lane) const {
    return reinterpret_cast<uint32_t *>(place(row, group)) + lane % 4;
  }
};

// While one part is stored, the residual of the next comes into the other.
constexpr int kStageBytesOfWarp = 2 * Stage::kBytes;

GLANCE_DEVICE bool in_sixteens(const void *data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0;
}

// Calls copy(global element, staged place, how many of its 8 columns there are) for each place of
// `count` rows, neighbouring lanes side by side. `data` is at the part's first element.
template <typename Element, typename Copy>
__device__ __forceinline__ void for_places(const Stage &stage, Element *data, int64_t stride,
                                           int32_t count, int32_t columns, int lane,
                                           const Copy &copy) {
#pragma unroll 1  // the sums need the registers
  for (int i = lane; i < kStoreRows * Stage::kPlaces; i += 32) {
    const int row = i / Stage::kPlaces;
    const int place = i % Stage::kPlaces;
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

// Stores a warp's tile: rows row to row + count - 1 (at most 16; none if count is not above 0),
// from `column` on, cut at the linear's N. `staged` is the warp's own, of kStageBytesOfWarp.
template <typename T>
class TileStore {
 public:
  __device__ __forceinline__ TileStore(const LinearParams &linear, int32_t row, int32_t count,
                                       int32_t column, unsigned char *staged, int lane)
      : l(linear), row_(row), count_(count), column_(column), staged_(staged), lane_(lane) {}

  // To be called once before store(), and early: what the first part needs is then on its way.
  __device__ __forceinline__ void begin() { fetch(0); }

  // sums[4 i + 2 j] and the next: row lane / 4 + 8 j, columns 8 i + 2 (lane % 4) and the next.
  template <int kSums>
  __device__ __forceinline__ void store(const float (&sums)[kSums]) {
    if (count_ <= 0) return;
    switch (l.epilogue) {
      case GLANCE_EPILOGUE_GELU_TANH:
        return store_parts<GLANCE_EPILOGUE_GELU_TANH>(sums);
      case GLANCE_EPILOGUE_GATED_RESIDUAL:
        return store_parts<GLANCE_EPILOGUE_GATED_RESIDUAL>(sums);
      default:
        return store_parts<GLANCE_EPILOGUE_NONE>(sums);
    }
  }

 private:
  __device__ __forceinline__ Stage stage(int part) const {
    return {staged_ + part % 2 * Stage::kBytes};
  }
  // Columns from the part's first on.
  __device__ __forceinline__ int32_t left(int part) const {
    return l.n - column_ - part * kPartColumns;
  }
  template <typename Pointer>
  __device__ __forceinline__ Pointer at(Pointer data, int64_t stride, int part) const {
    return data + row_ * stride + column_ + part * kPartColumns;
  }

  // Starts to copy a part's residual, if there is one.
  __device__ __forceinline__ void fetch(int part) const {
    if (l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL && left(part) > 0) {
      const auto *residual = at(static_cast<const uint16_t *>(l.residual), l.residual_stride, part);
      for_places(stage(part), residual, l.residual_stride, count_, left(part), lane_,
                 CopyIn{in_sixteens(residual, l.residual_stride)});
    }
    copy_async_commit();
  }

  template <int kEpilogue, int kSums>
  __device__ __forceinline__ void store_parts(const float (&sums)[kSums]) const {
    constexpr int kSumsOfPart = kPartColumns / 2;
    constexpr int kParts = kSums / kSumsOfPart;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (left(part) <= 0) return;
      if constexpr (kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
        if (part + 1 < kParts) fetch(part + 1);
        copy_async_wait<1>();
        if (part + 1 == kParts) copy_async_wait<0>();
        warp_sync();
      }
      finish<kEpilogue>(sums + part * kSumsOfPart, part);
      warp_sync();
      auto *y = at(static_cast<uint16_t *>(l.y), l.y_stride, part);
      for_places(stage(part), y, l.y_stride, count_, left(part), lane_,
                 CopyOut{in_sixteens(y, l.y_stride)});
      warp_sync();
    }
  }

  // Puts a part's results into its stage, over the residual.
  template <int kEpilogue>
  __device__ __forceinline__ void finish(const float *sums, int part) const {
    constexpr bool kGated = kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
    const int32_t first = column_ + part * kPartColumns;
    const T *gates[2] = {};
#pragma unroll
    for (int j = 0; j < 2 && kGated; ++j) {
      const int32_t own = row_ + lesser(lane_ / 4 + 8 * j, count_ - 1);
      gates[j] = static_cast<const T *>(l.gate) + own / l.rows_per_gate * l.gate_stride + first;
    }
    const T *bias = static_cast<const T *>(l.bias);
#pragma unroll
    for (int i = 0; i < kPartColumns / 8; ++i) {
      const int offset = 8 * i + 2 * (lane_ % 4);
      const int32_t columns = left(part) - offset;
      const Pair b = pair_at(bias == nullptr ? nullptr : bias + first + offset, columns);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        uint32_t *staged = stage(part).pair(lane_ / 4 + 8 * j, i, lane_);
        Pair gate = {};
        Pair residual = {};
        if constexpr (kGated) {
          gate = pair_at(gates[j] + offset, columns);
          residual = unpacked<T>(*staged);
        }
        const float *two = sums + 4 * i + 2 * j;
        *staged = pack_two<T>(finished<kEpilogue>(two[0], b.first, gate.first, residual.first),
                              finished<kEpilogue>(two[1], b.second, gate.second, residual.second));
      }
    }
  }

  const LinearParams &l;
  int32_t row_;
  int32_t count_;
  int32_t column_;
  unsigned char *staged_;
  int lane_;
};

}  // namespace glance
