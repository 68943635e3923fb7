#include "src/core/cuda_context.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>

#include "clip/core/error.hpp"

namespace clip {
namespace {

void cuda_check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("cuda", what, ": ", cudaGetErrorString(status));
}

class RuntimeContext final : public CudaContext {
 public:
  explicit RuntimeContext(int index) : index_(index) {
    activate();
    cudaMemPool_t pool{};
    cuda_check(cudaDeviceGetDefaultMemPool(&pool, index_), "finding the memory pool");
    std::uint64_t kept_bytes = UINT64_MAX;  // by default all that is free goes back whenever a stream is waited for
    cuda_check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept_bytes), "keeping memory");
    cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  }
  ~RuntimeContext() override {
    // Nothing can be done about an error while tearing down.
    cudaSetDevice(index_);
    cudaStreamSynchronize(stream_);
    kept_.clear();  // while the stream is there
    cudaStreamDestroy(stream_);
  }
  int index() const override { return index_; }
  void* stream() const override {
    activate();
    return stream_;
  }
  void* kept(std::shared_ptr<void> (*create)(void* stream)) override {
    const std::lock_guard lock(kept_mutex_);
    std::shared_ptr<void>& found = kept_[create];
    if (found == nullptr) found = create(stream());
    return found.get();
  }
  void synchronize() override {
    activate();
    cuda_check(cudaStreamSynchronize(stream_), "waiting for the stream");
  }
  void* allocate(std::size_t bytes) override {
    activate();
    void* memory = nullptr;
    const cudaError_t status = cudaMallocAsync(&memory, bytes, stream_);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // the failed request must not surface in the next call
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      fail("allocate", "out of memory on cuda:", index_, ": asked for ", bytes, " bytes, ", free, " of ", total,
           " free");
    }
    cuda_check(status, "allocating");
    return memory;
  }
  void release(void* memory) noexcept override {
    cudaSetDevice(index_);
    cudaFreeAsync(memory, stream_);
  }
  void copy(void* to, const void* from, std::size_t bytes, bool wait) override {
    activate();
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "copying");
    if (wait) cuda_check(cudaStreamSynchronize(stream_), "copying");
  }

 private:
  void activate() const { cuda_check(cudaSetDevice(index_), "choosing the GPU"); }

  int index_;
  cudaStream_t stream_ = nullptr;
  std::mutex kept_mutex_;
  std::map<std::shared_ptr<void> (*)(void*), std::shared_ptr<void>> kept_;
};

}  // namespace

int CudaContext::device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no GPU: not an error here
    return 0;
  }
  return count;
}

std::shared_ptr<CudaContext> CudaContext::make(int index) {
  const int count = device_count();
  check(index >= 0 && index < count, "device", "expected one of ", count, " GPUs, got cuda:", index);
  return std::make_shared<RuntimeContext>(index);
}

}  // namespace clip
