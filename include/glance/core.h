/*
 * The C ABI of the glance kernels: what all operations share.
 *
 * Rules, for every header in this folder:
 *  - plain C; integers of fixed width; device pointers are passed as void *;
 *  - every function that can fail returns a glance_status and leaves a message for the calling
 *    thread; nothing throws or aborts across this boundary;
 *  - every struct begins with struct_size, which the caller sets to sizeof the struct. A caller
 *    compiled against another layout is refused. New fields go to the end, are valid when zero, and
 *    raise GLANCE_ABI_VERSION;
 *  - the caller owns all memory it passes; the library keeps no pointer after a call returns,
 *    but on CUDA the memory must live until the stream has passed the call;
 *  - functions are thread-safe; two calls that write the same memory are the caller's race.
 */
#ifndef GLANCE_CORE_H
#define GLANCE_CORE_H

#include <stdint.h>

/* Raised by every change that an older caller would notice. Compare it before any other call. */
#define GLANCE_ABI_VERSION 5

#if defined(_WIN32)
#define GLANCE_API __declspec(dllexport)
#else
#define GLANCE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. */
typedef int32_t glance_status;
enum {
  GLANCE_OK = 0,
  /* An argument is wrong; the message names it. Nothing was written. */
  GLANCE_INVALID_ARGUMENT = 1,
  /* The arguments make sense, but this build or this machine cannot do it. Nothing was written. */
  GLANCE_UNSUPPORTED = 2,
  /* The CUDA runtime reported an error; the message has its text. */
  GLANCE_CUDA_ERROR = 3,
  /* There is not enough memory; the message says how much was asked for. Nothing was written. */
  GLANCE_OUT_OF_MEMORY = 4
};

/* Element types. The numbers are this ABI's own. F16 is taken on CUDA only, wherever BF16 is. */
typedef int32_t glance_dtype;
enum { GLANCE_F32 = 1, GLANCE_BF16 = 2, GLANCE_F16 = 3 };

/* Where the memory of a call lies and where it runs. */
typedef int32_t glance_device;
enum { GLANCE_CPU = 0, GLANCE_CUDA = 1 };

/* The GLANCE_ABI_VERSION this library was built with. */
GLANCE_API int32_t glance_abi_version(void);

/*
 * The message of the calling thread's last failed call, in English, without a line break; empty if
 * none failed. Belongs to the library; valid until this thread's next failing call.
 */
GLANCE_API const char *glance_last_error(void);

/*
 * Lets the idle threads of OpenMP runtimes and of OpenBLAS sleep, in libraries that this process
 * loads later: sets the environment variables OMP_WAIT_POLICY to PASSIVE and
 * OPENBLAS_THREAD_TIMEOUT to 18 (some 0.1 ms) unless they are set. By default the former spin and
 * the latter wait for 20 ms with the CPU busy, so a program that uses several of them in turn has
 * more busy threads than CPUs. Call it before such a library is loaded and before other threads
 * read the environment.
 */
GLANCE_API void glance_let_idle_threads_sleep(void);

/*
 * Sets how many threads one call on the CPU may use, for the whole process but for threads that
 * glance_set_alone leaves alone; 1 to 256. The default is the number of CPUs this process may run
 * on. The library's threads wait for the next call for a millisecond, giving way to any other thread
 * that wants their CPU, and then sleep. Of calls at the same time one has them, the others use their
 * caller's thread alone. No result depends on this number.
 */
GLANCE_API glance_status glance_set_threads(int32_t threads);

/* How many threads a call of the calling thread may use. */
GLANCE_API int32_t glance_threads(void);

/*
 * Has the calling thread's calls on the CPU use it alone where alone is not 0, and returns what was
 * set before; at first 0. For programs that keep every CPU busy with threads of their own.
 */
GLANCE_API int32_t glance_set_alone(int32_t alone);

/*
 * Sets how many threads the OpenBLAS that this process has loaded takes for one call, whoever makes
 * it, and returns how many it took before; 0 if the process has none. Less than 1 changes nothing.
 * A call on several threads waits for all of them: beside other busy programs up to a hundred times
 * as long as it would take alone.
 */
GLANCE_API int32_t glance_set_openblas_threads(int32_t threads);

/*
 * The instruction sets this machine's CPU has, of those the library has code for, separated by
 * spaces, the one in use last: "baseline avx2 avx512 avx512_bf16". A static string.
 */
GLANCE_API const char *glance_cpu_features(void);

/*
 * The CUDA architectures in this library in CMake's notation, "80-real,90a-real", or an empty
 * string if it was built without CUDA. A static string.
 */
GLANCE_API const char *glance_cuda_architectures(void);

/*
 * What the machine has. driver_version is 1000 * major + 10 * minor of the newest CUDA the driver
 * supports, 0 without a driver. GLANCE_UNSUPPORTED without a usable driver or in a build without
 * CUDA: the outputs are then 0 and the message says which.
 */
GLANCE_API glance_status glance_cuda_query(int32_t *driver_version, int32_t *device_count);

typedef struct {
  int64_t struct_size;
  int64_t memory_bytes;
  int32_t compute_major;
  int32_t compute_minor;
  char name[256];
} glance_cuda_device;

/* Fills *device for the device numbered index, from 0. */
GLANCE_API glance_status glance_cuda_device_info(int32_t index, glance_cuda_device *device);

#ifdef __cplusplus
}
#endif

#endif
