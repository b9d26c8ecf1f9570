// What the tests of the emulator share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "tests/support.h"

namespace glance_test {

// Runs a kernel in blocks of so many threads.
template <typename... Parameters>
void run(unsigned blocks, unsigned threads, size_t shared_bytes, void (*kernel)(Parameters...),
         Parameters... arguments) {
  glance::LaunchShape shape;
  shape.grid = dim3(blocks);
  shape.block = dim3(threads);
  shape.shared_bytes = shared_bytes;
  ASSERT_EQ(glance::launch(shape, nullptr, kernel, arguments...), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// The same in clusters.
template <typename... Parameters>
void run_clusters(unsigned blocks, unsigned cluster, unsigned threads, size_t shared_bytes,
                  void (*kernel)(Parameters...), Parameters... arguments) {
  glance::LaunchShape shape;
  shape.grid = dim3(blocks);
  shape.block = dim3(threads);
  shape.shared_bytes = shared_bytes;
  shape.cluster = cluster;
  ASSERT_EQ(glance::launch(shape, nullptr, kernel, arguments...), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// Whole numbers from -8 to 8: sums of some hundred products are exact in any order.
template <typename T>
std::vector<T> whole_numbers(size_t count, unsigned salt) {
  std::mt19937 random(first_seed() + salt);
  std::vector<T> all(count);
  for (T &each : all) {
    each = glance::from_f32<T>(static_cast<float>(static_cast<int>(random() % 17) - 8));
  }
  return all;
}

// a b^T, m x n; a m x k and b n x k.
template <typename T>
std::vector<float> product(const std::vector<T> &a, const std::vector<T> &b, size_t k) {
  const size_t m = a.size() / k, n = b.size() / k;
  std::vector<float> c(m * n);
  for (size_t i = 0; i < m * n; ++i) {
    for (size_t j = 0; j < k; ++j) {
      c[i] += glance::to_f32(a[i / n * k + j]) * glance::to_f32(b[i % n * k + j]);
    }
  }
  return c;
}

}  // namespace glance_test
