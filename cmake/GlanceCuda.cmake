# Decides whether to build for CUDA, and says so in one line. Sets GLANCE_HAS_CUDA, and
# GLANCE_CUBLASLT_INCLUDE to the folder of cublasLt.h, which a toolkit may lack.
set(GLANCE_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO (if a toolkit is found), ON, OFF")
# What daily builds make; releases add 86-real;89-real;100-real;120 and 80-virtual.
set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING "CUDA architectures")
# The first that finds functions of the driver by version; kernels may have 32 KB of parameters since
# 12.1, and sm_90a is known since 12.0.
set(GLANCE_CUDA_MINIMUM 12.5)
set(GLANCE_HAS_CUDA OFF)

function(glance_find_nvcc result reason)
  find_program(GLANCE_NVCC nvcc
    HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME PATH_SUFFIXES bin
    PATHS /usr/local/cuda/bin)
  mark_as_advanced(GLANCE_NVCC)
  if(NOT GLANCE_NVCC)
    set(${reason} "no nvcc on PATH or in /usr/local/cuda/bin" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${GLANCE_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
  if(NOT text MATCHES "release ([0-9]+\\.[0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS GLANCE_CUDA_MINIMUM)
    set(${reason} "${GLANCE_NVCC} is older than CUDA ${GLANCE_CUDA_MINIMUM}" PARENT_SCOPE)
    return()
  endif()
  set(${result} ${GLANCE_NVCC} PARENT_SCOPE)
endfunction()

if(GLANCE_CUDA STREQUAL "OFF")
  set(reason "switched off by GLANCE_CUDA=OFF")
else()
  glance_find_nvcc(nvcc reason)
  if(nvcc)
    set(CMAKE_CUDA_COMPILER ${nvcc} CACHE FILEPATH "CUDA compiler")
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      enable_language(CUDA)
      find_package(CUDAToolkit REQUIRED)
      set(CMAKE_CUDA_STANDARD 17)
      set(CMAKE_CUDA_STANDARD_REQUIRED ON)
      set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
      # What resources_test.cmake reads.
      list(PREPEND CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CURRENT_LIST_DIR}/ptxas_report.sh)
      set(GLANCE_HAS_CUDA ON)
      find_path(GLANCE_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    else()
      set(reason "${nvcc} cannot compile with ${CMAKE_CXX_COMPILER} as its host compiler")
    endif()
  endif()
endif()

if(GLANCE_HAS_CUDA)
  if(GLANCE_CUBLASLT_INCLUDE)
    set(with_cublaslt "with cuBLASLt")
  else()
    set(with_cublaslt "without cuBLASLt (no cublasLt.h)")
  endif()
  message(NOTICE "glance: CUDA kernels: built with nvcc ${CMAKE_CUDA_COMPILER_VERSION} "
    "for ${CMAKE_CUDA_ARCHITECTURES}, ${with_cublaslt}")
elseif(GLANCE_CUDA STREQUAL "ON")
  message(FATAL_ERROR "glance: CUDA kernels were asked for (GLANCE_CUDA=ON), but ${reason}")
else()
  message(NOTICE "glance: CUDA kernels: skipped (${reason})")
endif()
