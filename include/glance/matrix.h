/*
 * The right-hand side of x W^T in the layout the kernels read: a linear's weight W, or an adapter's
 * A or B. Made once, when a model is loaded, and shared by every call and every thread after that.
 *
 * On the CPU it is a copy, in panels that suit the instruction set in use, and the caller's memory
 * is free again. On CUDA it only remembers the caller's memory, which must outlive it.
 */
#ifndef GLANCE_MATRIX_H
#define GLANCE_MATRIX_H

#include <glance/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable and thread-safe. */
typedef struct glance_matrix glance_matrix;

typedef struct {
  int64_t struct_size;
  const void *data;
  /* W is rows x columns: a linear of columns inputs and rows outputs. Both 1 or more. */
  int64_t rows;
  int64_t columns;
  /* Distances in elements between neighbours in a column and in a row, 0 or more: a contiguous
     matrix has row_stride = columns and column_stride = 1, and its transpose the two exchanged. */
  int64_t row_stride;
  int64_t column_stride;
  /* F32, BF16 or (CUDA) F16. */
  glance_dtype dtype;
  glance_device device;
  /* The CUDA device's number; 0 on CPU. */
  int32_t device_index;
  int32_t reserved;
} glance_matrix_args;

/*
 * Makes *matrix, which belongs to the caller until glance_matrix_destroy; null if the call fails.
 * The values are taken as they are, NaN and infinity too.
 */
GLANCE_API glance_status glance_matrix_create(const glance_matrix_args *args,
                                              glance_matrix **matrix);

/* Frees the matrix; null is allowed. No call may be using it. */
GLANCE_API void glance_matrix_destroy(glance_matrix *matrix);

/* The bytes of memory it holds itself; 0 for null. */
GLANCE_API int64_t glance_matrix_bytes(const glance_matrix *matrix);

/*
 * Tells the system that the pages of a mapped file wholly inside these bytes will not be read soon,
 * so that they need not stay in memory once a matrix has been made of them. What is read from them
 * all the same is read from the file again. Never call it on memory that is not a read-only or
 * shared mapping of a file: its contents would be lost.
 */
GLANCE_API glance_status glance_release_mapped_pages(const void *data, int64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
