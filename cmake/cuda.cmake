# The kernels for GPUs, and the context that runs them.
target_compile_definitions(clipcore PRIVATE CLIP_HAS_CUDA)
file(GLOB cuda_sources CONFIGURE_DEPENDS kernels/*_cuda.cu)

# For tests, as plain C++: the GPU is then the host executor.
if(CLIP_CUDA STREQUAL HOST)
  set(host_cuda ${PROJECT_SOURCE_DIR}/tests/host_cuda)
  # Device code counts in int, also what is an array's size; `unroll` is nvcc's.
  set_source_files_properties(${cuda_sources} PROPERTIES
    LANGUAGE CXX COMPILE_OPTIONS "-Wno-sign-conversion;-Wno-unknown-pragmas" SKIP_PRECOMPILE_HEADERS ON)
  if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)  # it would unroll loops of hundreds of products, for minutes
    set_property(SOURCE kernels/contrastive_16bit_cuda.cu kernels/soft_target_16bit_cuda.cu APPEND PROPERTY
      COMPILE_OPTIONS -mllvm -pragma-unroll-threshold=0 -Wno-pass-failed)
  endif()
  # The executor, and the kernels whose tests would otherwise take longer than it takes to optimise them.
  set(stand_ins executor.cpp fiber.cpp cublasLt.cpp cudnn.cpp)
  list(TRANSFORM stand_ins PREPEND ${host_cuda}/)
  set(long_tests ${stand_ins})
  foreach(kernel attention contrastive contrastive_16bit layer_norm projection_head soft_target soft_target_16bit top_k
      whole_head)
    list(APPEND long_tests ${PROJECT_SOURCE_DIR}/kernels/${kernel}_cuda.cu)
  endforeach()
  set_property(SOURCE ${long_tests} APPEND PROPERTY COMPILE_OPTIONS -O1)
  set_property(SOURCE ${long_tests} PROPERTY SKIP_PRECOMPILE_HEADERS ON)
  target_sources(clipcore PRIVATE ${cuda_sources} ${stand_ins})
  target_include_directories(clipcore PUBLIC $<BUILD_INTERFACE:${host_cuda}>)  # <cuda_runtime.h>
  return()
endif()

# By nvcc, as objects of the library: its users need the CUDA runtime, not the language.
# CMAKE_CUDA_ARCHITECTURES are those of the GPUs present, or, where there is none, the generations 8.0 and 9.0a.
target_link_libraries(clipcore PRIVATE CUDA::cudart_static ${CLIP_cublasLt_LIBRARY} ${CLIP_cudnn_LIBRARY})
# After all others: beside them, Python's packages have headers that belong to another toolkit.
target_compile_options(clipcore PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${CLIP_cublasLt_INCLUDE} -idirafter ${CLIP_cudnn_INCLUDE}>")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE gpus RESULT_VARIABLE status ERROR_QUIET)
  if(NOT status EQUAL 0)
    set(gpus "")  # an error message may have numbers too
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]" CMAKE_CUDA_ARCHITECTURES "${gpus}")
  list(REMOVE_DUPLICATES CMAKE_CUDA_ARCHITECTURES)
  list(TRANSFORM CMAKE_CUDA_ARCHITECTURES REPLACE "\\." "")
  list(TRANSFORM CMAKE_CUDA_ARCHITECTURES REPLACE "^90$" "90a")  # `native` would leave out what only it has
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90a)
  endif()
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it of nvcc
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
add_library(cuda_kernels OBJECT ${cuda_sources})
target_include_directories(cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR})
target_compile_options(cuda_kernels PRIVATE --expt-relaxed-constexpr)
target_sources(clipcore PRIVATE $<TARGET_OBJECTS:cuda_kernels>)
# Which make asks of targets with such objects, and which was not known when this one was made.
set_property(TARGET clipcore PROPERTY CUDA_ARCHITECTURES ${CMAKE_CUDA_ARCHITECTURES})
