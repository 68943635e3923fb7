#pragma once

struct CUstream_st;  // the CUDA runtime's cudaStream_t points to one

namespace clip::kernels::cuda {

/// The stream that a kernel is put into; a cudaStream_t.
using Stream = CUstream_st*;

}  // namespace clip::kernels::cuda
