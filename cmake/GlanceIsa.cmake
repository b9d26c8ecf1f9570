# Instruction-set variants: the same source compiled once per set, chosen at run time.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(GLANCE_ISAS baseline avx2 avx512 avx512_bf16)
  target_compile_definitions(glance_flags INTERFACE GLANCE_X86)
else()
  set(GLANCE_ISAS baseline)
endif()
set(GLANCE_ISA_FLAGS_baseline "")
set(GLANCE_ISA_FLAGS_avx2 -mavx2 -mfma)
set(GLANCE_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512)
set(GLANCE_ISA_FLAGS_avx512_bf16 ${GLANCE_ISA_FLAGS_avx512} -mavx512bf16)

# Compiles SOURCES for every set, for whatever links the object library TARGET; GLANCE_ISA names the
# set in each.
function(glance_add_isa_sources target)
  foreach(isa IN LISTS GLANCE_ISAS)
    add_library(${target}_${isa} OBJECT ${ARGN})
    target_link_libraries(${target}_${isa} PRIVATE glance_flags)
    target_compile_definitions(${target}_${isa} PRIVATE GLANCE_ISA=${isa})
    target_compile_options(${target}_${isa} PRIVATE ${GLANCE_ISA_FLAGS_${isa}})
    target_sources(${target} INTERFACE $<TARGET_OBJECTS:${target}_${isa}>)
  endforeach()
endfunction()
