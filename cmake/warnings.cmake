# Warnings and sanitizers of our own targets; users of the library do not inherit them.
add_library(clip_warnings INTERFACE)
target_compile_options(clip_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-psabi  # vectors are passed between inlined functions only, see kernels/cpu/parallel.hpp
  $<$<BOOL:${CLIP_WERROR}>:-Werror>)
if(CLIP_SANITIZE)
  target_compile_options(clip_warnings INTERFACE -fsanitize=${CLIP_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(clip_warnings INTERFACE -fsanitize=${CLIP_SANITIZE})
endif()
install(TARGETS clip_warnings EXPORT clipcore-targets)
