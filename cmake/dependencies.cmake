# Everything the library and its programs are built on. `scripts/setup.sh` installs it on Debian and Ubuntu.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl CONFIG REQUIRED)  # oneDNN 2.6 or 3.x

set(CLIP_HAS_CUDA OFF)
if(NOT CLIP_CUDA STREQUAL OFF)
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND)
    set(CLIP_HAS_CUDA ON)
  elseif(NOT CLIP_CUDA STREQUAL AUTO)
    message(FATAL_ERROR "CLIP_CUDA is ON, but no CUDA toolkit was found: install one, put nvcc on PATH, or configure with -DCLIP_CUDA=OFF")
  endif()
endif()
message(STATUS "clipcore: CUDA ${CLIP_HAS_CUDA}, oneDNN ${dnnl_VERSION}, ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
