# cuBLASLt and cuDNN: the toolkit's, the system's, or those of Python's `nvidia` packages, which come with
# PyTorch. CLIP_<name>_LIBRARY and CLIP_<name>_INCLUDE are where each is, or not found.
execute_process(COMMAND python3 -c "import nvidia; print(*nvidia.__path__, sep=';')"
  OUTPUT_VARIABLE nvidia_packages OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
list(TRANSFORM nvidia_packages APPEND "/*" OUTPUT_VARIABLE nvidia_packages)
file(GLOB nvidia_packages ${nvidia_packages})
foreach(library cublasLt:cublasLt.h cudnn:cudnn.h)
  string(REGEX MATCH "^[^:]+" name ${library})
  string(REGEX MATCH "[^:]+$" header ${library})
  # Packages have no lib<name>.so, only a file with a version.
  list(TRANSFORM nvidia_packages APPEND "/lib/lib${name}.so*" OUTPUT_VARIABLE patterns)
  file(GLOB versions ${patterns})
  list(TRANSFORM versions REPLACE "^.*/" "")
  find_library(CLIP_${name}_LIBRARY NAMES ${name} ${versions}
    HINTS ${CUDAToolkit_LIBRARY_DIR} PATHS ${nvidia_packages} PATH_SUFFIXES lib)
  cmake_path(GET CLIP_${name}_LIBRARY PARENT_PATH folder)
  find_path(CLIP_${name}_INCLUDE ${header}
    HINTS ${folder}/../include ${CUDAToolkit_INCLUDE_DIRS} PATHS ${nvidia_packages} PATH_SUFFIXES include)
  mark_as_advanced(CLIP_${name}_LIBRARY CLIP_${name}_INCLUDE)
endforeach()
