#include "clip/core/error.hpp"
#include "src/core/cuda_context.hpp"

namespace clip {

int CudaContext::device_count() { return 0; }

std::shared_ptr<CudaContext> CudaContext::make(int) {
  fail("device", "expected a build with CUDA, got one without: configure with -DCLIP_CUDA=ON, or use the CPU");
}

}  // namespace clip
