// naive_cuda.cu for the emulator: CMake compiles a file of one folder in one language only.
#include "tests/naive_cuda.cu"
