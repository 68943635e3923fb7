# Warnings and sanitizers of our own targets; users of the library do not inherit them.
add_library(clip_warnings INTERFACE)
target_compile_options(clip_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-psabi  # vectors are passed between inlined functions only, see kernels/cpu/parallel.hpp
  $<$<BOOL:${CLIP_WERROR}>:-Werror>)
if(CLIP_SANITIZE)
  target_compile_options(clip_warnings INTERFACE -fsanitize=${CLIP_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)  # false in instrumented code
  target_link_options(clip_warnings INTERFACE -fsanitize=${CLIP_SANITIZE})
  target_compile_definitions(clip_warnings INTERFACE CLIP_SANITIZED)
  if(CLIP_SANITIZE MATCHES address)
    target_compile_definitions(clip_warnings INTERFACE CLIP_ADDRESS_SANITIZER)
  endif()
endif()

# ThreadSanitizer takes OpenMP's barriers for races unless the runtime tells it about them: LLVM's does, through its tool
# Archer, when that is linked; libgomp cannot. oneDNN may be linked with libgomp: its calls are bound to LLVM's runtime
# too, which has the same functions and comes first. Archer wants TSAN_OPTIONS=ignore_noninstrumented_modules=1 (the
# tsan test preset sets it).
if(CLIP_SANITIZE STREQUAL thread)
  list(GET OpenMP_CXX_LIBRARIES 0 openmp_library)
  file(REAL_PATH ${openmp_library} openmp_library)
  cmake_path(GET openmp_library PARENT_PATH openmp_folder)
  find_library(CLIP_ARCHER archer HINTS ${openmp_folder})
  if(NOT CLIP_ARCHER)
    message(FATAL_ERROR "ThreadSanitizer needs Clang with LLVM's OpenMP runtime and its libarcher.so, which is not in "
                        "${openmp_folder}: use the tsan preset; scripts/setup.sh installs what it needs")
  endif()
  target_link_libraries(clip_warnings INTERFACE -Wl,--no-as-needed ${CLIP_ARCHER} -Wl,--as-needed)
endif()
