// glance_matrix: its values as a linear sees them, strides, refusals, and released pages.
#include <fcntl.h>
#include <glance/lora_linear.h>
#include <glance/matrix.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/lora_problem.h"
#include "tests/matrix_handle.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::for_each_variant;
using glance_test::MatrixHandle;

// What the kernels read: x = 1 gives y = W transposed, exactly.
Buffer read_back(const glance_matrix *matrix, glance_dtype dtype, int64_t rows, int64_t columns) {
  Buffer x(dtype, columns, columns);
  x.fill(0.0f);
  for (int64_t i = 0; i < columns; ++i) x.set(i, i, 1.0f);
  Buffer y(dtype, columns, rows);
  glance_linear linear = {};
  linear.weight = matrix;
  linear.y = y.data();
  linear.y_stride = y.stride;
  glance_lora_linear_args args = {};
  args.struct_size = sizeof args;
  args.x = x.data();
  args.rows = columns;
  args.x_stride = x.stride;
  args.linears = &linear;
  args.linear_count = 1;
  args.dtype = dtype;
  args.device = glance_test::device();
  EXPECT_EQ(glance_test::run_lora_linear(args, {linear}, {&x, &y}), GLANCE_OK)
      << glance_last_error();
  return y;
}

using Value = std::function<float(int64_t row, int64_t column)>;

testing::AssertionResult holds(const glance_matrix *matrix, glance_dtype dtype, int64_t rows,
                               int64_t columns, const Value &want) {
  const Buffer got = read_back(matrix, dtype, rows, columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      if (got.get(c, r) != want(r, c)) {
        return testing::AssertionFailure()
               << glance_test::name(dtype) << " " << rows << "x" << columns << " at " << r << ","
               << c << ": " << got.get(c, r) << ", should be " << want(r, c);
      }
    }
  }
  return testing::AssertionSuccess();
}

TEST(Matrix, KeepsACopyOfTheValuesOnCpu) {
  GLANCE_CPU_ONLY();
  for_each_variant([](glance_dtype dtype) {
    std::mt19937 random(glance_test::first_seed());
    const int64_t sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {15, 16}, {16, 17}, {33, 31}, {100, 65}};
    for (const auto &size : sizes) {
      Buffer values(dtype, size[0], size[1], 3, 1);
      values.fill(random);
      const Buffer original(values);
      const MatrixHandle matrix(values);
      EXPECT_GE(glance_matrix_bytes(matrix.get()), size[0] * size[1] * values.element_bytes());
      values.fill(std::numeric_limits<float>::quiet_NaN());
      ASSERT_TRUE(holds(matrix.get(), dtype, size[0], size[1],
                        [&](int64_t r, int64_t c) { return original.get(r, c); }));
    }
  });
}

TEST(Matrix, TakesTheTransposeByItsStrides) {
  for_each_variant([](glance_dtype dtype) {
    std::mt19937 random(glance_test::first_seed());
    const int64_t sizes[][2] = {{1, 9}, {9, 1}, {16, 33}, {47, 35}};
    for (const auto &size : sizes) {
      Buffer values(dtype, size[0], size[1], 2, 3);
      values.fill(random);
      glance_matrix_args args = glance_test::matrix_args(values);
      std::swap(args.rows, args.columns);
      std::swap(args.row_stride, args.column_stride);
      ASSERT_TRUE(holds(MatrixHandle(args, values).get(), dtype, size[1], size[0],
                        [&](int64_t r, int64_t c) { return values.get(c, r); }));
    }
  });
}

TEST(Matrix, TakesAnyStrides) {
  for_each_variant([](glance_dtype dtype) {
    std::mt19937 random(glance_test::first_seed());
    Buffer values(dtype, 40, 60);
    values.fill(random);
    glance_matrix_args args = glance_test::matrix_args(values);
    args.rows = 19;
    args.columns = 20;
    args.row_stride = 2 * 60;
    args.column_stride = 3;
    ASSERT_TRUE(holds(MatrixHandle(args, values).get(), dtype, 19, 20,
                      [&](int64_t r, int64_t c) { return values.get(2 * r, 3 * c); }));
    args.row_stride = 0;
    ASSERT_TRUE(holds(MatrixHandle(args, values).get(), dtype, 19, 20,
                      [&](int64_t, int64_t c) { return values.get(0, 3 * c); }));
    args.row_stride = 60;
    args.column_stride = 0;
    ASSERT_TRUE(holds(MatrixHandle(args, values).get(), dtype, 19, 20,
                      [&](int64_t r, int64_t) { return values.get(r, 0); }));
  });
}

TEST(MatrixOnCuda, RemembersTheCallersMemory) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  Buffer values(GLANCE_F32, 5, 7);
  values.fill(2.0f);
  const glance_test::DeviceCopy memory(values.bytes);
  glance_matrix_args args = glance_test::matrix_args(values);
  args.data = memory.data();
  glance_matrix *matrix = nullptr;
  ASSERT_EQ(glance_matrix_create(&args, &matrix), GLANCE_OK) << glance_last_error();
  EXPECT_EQ(glance_matrix_bytes(matrix), 0);
  values.fill(3.0f);
  glance_test::upload(memory.data(), values.bytes.data(), values.bytes.size());
  EXPECT_TRUE(holds(matrix, GLANCE_F32, 5, 7, [](int64_t, int64_t) { return 3.0f; }));
  glance_matrix_destroy(matrix);
}

TEST(Matrix, NullHasNoBytesAndMayBeDestroyed) {
  EXPECT_EQ(glance_matrix_bytes(nullptr), 0);
  glance_matrix_destroy(nullptr);
}

void expect_refused(const char *argument, const std::function<void(glance_matrix_args &)> &spoil) {
  Buffer values(GLANCE_BF16, 4, 6);
  values.fill(1.0f);
  glance_matrix_args args = glance_test::matrix_args(values);
  spoil(args);
  int somewhere = 0;
  glance_matrix *matrix = reinterpret_cast<glance_matrix *>(&somewhere);
  EXPECT_TRUE(glance_test::refused(glance_matrix_create(&args, &matrix), argument));
  EXPECT_EQ(matrix, nullptr) << argument;
}

TEST(Matrix, Refusals) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  expect_refused("struct_size", [](glance_matrix_args &a) { a.struct_size -= 8; });
  expect_refused("data", [](glance_matrix_args &a) { a.data = nullptr; });
  expect_refused("data", [](glance_matrix_args &a) {
    a.data = static_cast<const unsigned char *>(a.data) + 1;
  });
  expect_refused("rows", [](glance_matrix_args &a) { a.rows = 0; });
  expect_refused("rows", [](glance_matrix_args &a) { a.rows = -4; });
  expect_refused("columns", [](glance_matrix_args &a) { a.columns = 0; });
  expect_refused("row_stride", [](glance_matrix_args &a) { a.row_stride = -6; });
  expect_refused("column_stride", [](glance_matrix_args &a) { a.column_stride = -1; });
  expect_refused("dtype", [](glance_matrix_args &a) { a.dtype = glance_test::wrong_dtype(); });
  expect_refused("dtype", [](glance_matrix_args &a) { a.dtype = 7; });
  expect_refused("device", [](glance_matrix_args &a) { a.device = 2; });
  expect_refused("device_index", [](glance_matrix_args &a) { a.device_index = -1; });
  expect_refused("reserved", [](glance_matrix_args &a) { a.reserved = 1; });
  // More than an address space.
  expect_refused("row_stride", [=](glance_matrix_args &a) { a.row_stride = most; });
  expect_refused("row_stride", [=](glance_matrix_args &a) {
    a.rows = 2;
    a.columns = 1;
    a.row_stride = most;
  });
  expect_refused("column_stride", [=](glance_matrix_args &a) { a.column_stride = most / 4; });
  expect_refused("row_stride", [=](glance_matrix_args &a) {
    a.rows = most;
    a.row_stride = 0;
  });
  expect_refused("column_stride", [=](glance_matrix_args &a) {
    a.columns = most;
    a.column_stride = 0;
  });

  glance_matrix *matrix = nullptr;
  EXPECT_TRUE(glance_test::refused(glance_matrix_create(nullptr, &matrix), "args"));
  const glance_matrix_args args = glance_test::matrix_args(Buffer(GLANCE_F32, 1, 1));
  EXPECT_TRUE(glance_test::refused(glance_matrix_create(&args, nullptr), "matrix"));
}

// More than any machine has, of memory that is one element.
TEST(Matrix, TooLargeIsOutOfMemory) {
  GLANCE_CPU_ONLY();
  const float one = 1.0f;
  glance_matrix_args args = glance_test::matrix_args(Buffer(GLANCE_F32, 1, 1));
  args.data = &one;
  args.rows = int64_t{1} << 24;
  args.columns = int64_t{1} << 24;
  args.row_stride = 0;
  args.column_stride = 0;
  glance_matrix *matrix = nullptr;
  EXPECT_EQ(glance_matrix_create(&args, &matrix), GLANCE_OUT_OF_MEMORY) << glance_last_error();
  EXPECT_EQ(matrix, nullptr);
}

// A file of f32 values, mapped read-only.
class MappedFile {
 public:
  MappedFile(int64_t rows, int64_t columns) : values(GLANCE_F32, rows, columns) {
    std::mt19937 random(glance_test::first_seed());
    values.fill(random);
    char path[] = "/tmp/glance_matrix_test_XXXXXX";
    const int file = mkstemp(path);
    EXPECT_GE(file, 0);
    unlink(path);
    bytes = static_cast<size_t>(rows * columns * 4);
    EXPECT_EQ(write(file, values.data(), bytes), static_cast<ssize_t>(bytes));
    data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    EXPECT_NE(data, MAP_FAILED);
    close(file);
  }
  ~MappedFile() { munmap(data, bytes); }
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  glance_matrix_args args() const {
    glance_matrix_args of_file = glance_test::matrix_args(values);
    of_file.data = data;
    return of_file;
  }

  // Kilobytes of the mapping that are in memory, as Linux says; -1 elsewhere.
  long resident_kb() const {
    std::FILE *maps = std::fopen("/proc/self/smaps", "r");
    if (maps == nullptr) return -1;
    char line[512];
    unsigned long begin = 0, end = 0;
    long kilobytes = -1;
    bool here = false;
    while (std::fgets(line, sizeof line, maps) != nullptr) {
      if (std::sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
        here = begin == reinterpret_cast<uintptr_t>(data);
      } else if (here && std::sscanf(line, "Rss: %ld", &kilobytes) == 1) {
        break;
      }
    }
    std::fclose(maps);
    return kilobytes;
  }

  Buffer values;
  void *data = nullptr;
  size_t bytes = 0;
};

TEST(ReleaseMappedPages, ValuesStayAndMemoryGoes) {
  GLANCE_CPU_ONLY();
  const MappedFile file(300, 256);
  const auto value = [&](int64_t r, int64_t c) { return file.values.get(r, c); };
  const MatrixHandle matrix(file.args(), file.values);
  const long before = file.resident_kb();
  ASSERT_EQ(glance_release_mapped_pages(file.data, static_cast<int64_t>(file.bytes)), GLANCE_OK)
      << glance_last_error();
  if (before >= 0) {
    EXPECT_EQ(before, 300);
    EXPECT_EQ(file.resident_kb(), 0);
  }
  EXPECT_TRUE(holds(matrix.get(), GLANCE_F32, 300, 256, value));
  EXPECT_EQ(std::memcmp(file.data, file.values.data(), file.bytes), 0);
  EXPECT_TRUE(holds(MatrixHandle(file.args(), file.values).get(), GLANCE_F32, 300, 256, value));
}

// Whatever the first and last byte, only whole pages go, and the mapping keeps its values.
TEST(ReleaseMappedPages, OnlyPagesWhollyInside) {
  GLANCE_CPU_ONLY();
  const MappedFile file(64, 256);
  const char *begin = static_cast<const char *>(file.data);
  const long page = sysconf(_SC_PAGESIZE);
  volatile char sink = 0;
  for (size_t i = 0; i < file.bytes; ++i) sink = begin[i];
  static_cast<void>(sink);
  const long all = file.resident_kb();
  ASSERT_EQ(glance_release_mapped_pages(begin + 1, page), GLANCE_OK);
  ASSERT_EQ(glance_release_mapped_pages(begin + page / 2, page - 1), GLANCE_OK);
  ASSERT_EQ(glance_release_mapped_pages(begin, 0), GLANCE_OK);
  ASSERT_EQ(glance_release_mapped_pages(begin, page - 1), GLANCE_OK);
  EXPECT_EQ(file.resident_kb(), all);
  ASSERT_EQ(glance_release_mapped_pages(begin + 1, 3 * page), GLANCE_OK);
  if (all >= 0) {
    EXPECT_EQ(file.resident_kb(), all - 2 * page / 1024);
  }
  EXPECT_EQ(std::memcmp(begin, file.values.data(), file.bytes), 0);
}

TEST(ReleaseMappedPages, Refusals) {
  GLANCE_CPU_ONLY();
  const MappedFile file(1, 4);
  EXPECT_TRUE(glance_test::refused(glance_release_mapped_pages(file.data, -1), "bytes"));
  EXPECT_TRUE(glance_test::refused(glance_release_mapped_pages(nullptr, 8), "data"));
}

}  // namespace
