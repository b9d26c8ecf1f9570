# Language level, warnings and link flags; all of it in the target glance_flags.
option(GLANCE_WERROR "Treat compiler warnings as errors" ON)
set(GLANCE_SANITIZE "" CACHE STRING "Sanitizers to build with, for example address,undefined")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

add_library(glance_flags INTERFACE)
target_include_directories(glance_flags INTERFACE
  ${PROJECT_SOURCE_DIR}/../include ${PROJECT_SOURCE_DIR})
# No contraction: a fused multiply-add rounds once where the formulas round twice, and would make
# results depend on the instruction set.
target_compile_options(glance_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-fno-math-errno;-fno-exceptions;-fno-rtti>
  $<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<BOOL:${GLANCE_WERROR}>>:-Werror>)

if(GLANCE_SANITIZE)
  # -O1: checked loops gain little from more, and take long to compile.
  target_compile_options(glance_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${GLANCE_SANITIZE};-fno-sanitize-recover=all;-g;-O1>)
  target_link_options(glance_flags INTERFACE -fsanitize=${GLANCE_SANITIZE})
elseif(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  # Only libc stays needed, and only the C ABI is exported. Never unloaded: its threads run to the end.
  set(GLANCE_LIBRARY_LINK_OPTIONS
    -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,--no-undefined -Wl,-z,noexecstack
    -Wl,-z,nodelete)
endif()
