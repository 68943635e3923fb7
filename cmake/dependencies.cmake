# Everything the library and its programs are built on. One message names all that is missing.
message(STATUS "clipcore: looking for dependencies; scripts/setup.sh installs them on Debian and Ubuntu")
set(missing "")
macro(clip_needs name)  # followed by the condition that it is there
  if(NOT (${ARGN}))
    list(APPEND missing "${name}")
  endif()
endmacro()

find_package(OpenMP QUIET COMPONENTS CXX)
clip_needs("OpenMP for ${CMAKE_CXX_COMPILER} (Clang: libomp)" OpenMP_CXX_FOUND)
find_package(dnnl CONFIG QUIET)
clip_needs("oneDNN 2.6 or 3.x" TARGET DNNL::dnnl AND dnnl_VERSION VERSION_GREATER_EQUAL 2.6)

# What reads pictures, texts and files is built on these.
find_package(PkgConfig QUIET)
clip_needs("pkg-config, which finds spng" PkgConfig_FOUND)
if(PkgConfig_FOUND)
  pkg_check_modules(spng QUIET IMPORTED_TARGET spng)  # PkgConfig::spng
endif()
clip_needs("spng" spng_FOUND)
find_package(JPEG QUIET)  # JPEG::JPEG
clip_needs("libjpeg-turbo" JPEG_FOUND)
find_package(nlohmann_json CONFIG QUIET)  # nlohmann_json::nlohmann_json
clip_needs("nlohmann-json" nlohmann_json_FOUND)
find_package(CLI11 CONFIG QUIET)  # CLI11::CLI11
clip_needs("CLI11" CLI11_FOUND)

if(CLIP_PROGRAMS)
  find_package(pugixml CONFIG QUIET)  # pugixml::pugixml, for make_clipart
  clip_needs("pugixml (or configure with -DCLIP_PROGRAMS=OFF)" pugixml_FOUND)
endif()
if(CLIP_TESTS)
  find_package(Catch2 CONFIG QUIET)
  clip_needs("Catch2 2 or 3 (or configure with -DCLIP_TESTS=OFF)" Catch2_FOUND)
endif()
if(CLIP_BENCH)
  find_package(benchmark CONFIG QUIET)
  clip_needs("Google Benchmark (or configure with -DCLIP_BENCH=OFF)" benchmark_FOUND)
endif()
if(missing)
  list(JOIN missing "\n    " missing)
  message(FATAL_ERROR "These are needed and were not found:\n    ${missing}\n"
                      "On Debian and Ubuntu scripts/setup.sh installs them.")
endif()

set(CLIP_HAS_CUDA OFF)
if(CLIP_CUDA STREQUAL HOST)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")  # tests/host_cuda/fiber.cpp
    set(CLIP_HAS_CUDA ON)
  endif()
elseif(CLIP_CUDA)  # ON or AUTO
  if(CMAKE_VERSION VERSION_LESS 3.26)  # whose module stops where the toolkit has none, as from CUDA 13 on
    add_library(CUDA::nvToolsExt INTERFACE IMPORTED)
  endif()
  find_package(CUDAToolkit QUIET)
  set(missing "")
  if(TARGET CUDA::cudart_static)
    include(cmake/cuda_libraries.cmake)
    clip_needs("cuBLASLt, its library and cublasLt.h" CLIP_cublasLt_LIBRARY AND CLIP_cublasLt_INCLUDE)
    clip_needs("cuDNN 9, its library and cudnn.h" CLIP_cudnn_LIBRARY AND CLIP_cudnn_INCLUDE)
  else()
    list(APPEND missing "a CUDA toolkit (or put its nvcc on PATH)")
  endif()
  list(JOIN missing "; " missing)
  if(NOT missing)
    set(CLIP_HAS_CUDA ON)
  elseif(CLIP_CUDA STREQUAL AUTO)
    message(STATUS "clipcore: built without CUDA, for which these were not found: ${missing}")
  else()
    message(FATAL_ERROR "CLIP_CUDA is ${CLIP_CUDA}, which needs, and these were not found: ${missing}.\n"
                        "cuBLASLt and cuDNN may be the toolkit's, the system's or those of Python's nvidia packages; "
                        "-DCLIP_CUDA=OFF builds without CUDA.")
  endif()
endif()
message(STATUS "clipcore: CUDA ${CLIP_HAS_CUDA}, oneDNN ${dnnl_VERSION}, "
               "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
