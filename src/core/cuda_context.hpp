#pragma once
#include <cstddef>
#include <memory>

namespace clip {

/// A GPU with a stream and a stream-ordered memory pool. `cuda_context.cpp` implements it with the CUDA runtime,
/// `cuda_context_absent.cpp` for builds without CUDA: CMake compiles one of them.
class CudaContext {
 public:
  static int device_count();
  /// Throws when there is no GPU `index`.
  static std::shared_ptr<CudaContext> make(int index);

  virtual ~CudaContext() = default;
  virtual int index() const = 0;
  /// Makes the GPU the calling thread's current one, as launching into the stream needs.
  virtual void* stream() const = 0;
  /// See `Device::kept`.
  virtual void* kept(std::shared_ptr<void> (*create)(void* stream)) = 0;
  virtual void synchronize() = 0;
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  /// Copies between host and GPU in either direction, between GPUs, or within this one; unless told not to, waits until
  /// it is done.
  virtual void copy(void* to, const void* from, std::size_t bytes, bool wait) = 0;
};

}  // namespace clip
