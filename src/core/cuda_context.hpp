#pragma once
#include <cstddef>
#include <functional>
#include <memory>

namespace clip {

struct IndexFaults;

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
  virtual IndexFaults* index_faults() = 0;
  virtual void synchronize() = 0;
  /// Records what `work` puts into the stream. Memory allocated meanwhile belongs to what is returned and to the
  /// tensors that are left in it; what would wait throws. What was recorded before as `other`, unless that is null,
  /// shares the memory that is free in it.
  virtual std::shared_ptr<void> capture(const std::function<void()>& work, void* other) = 0;
  virtual bool capturing() const = 0;
  /// See `Graph::before_replay`.
  virtual void before_replay(std::function<void()> work) = 0;
  virtual void replay(void* recorded) = 0;
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  /// Copies from the host; `from` may be written to at once.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  /// Copies to the host, and waits until it is done.
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  /// Copies within the GPU's memory, in the order of the stream.
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  /// Copies from the memory of GPU `other`, of which a context's pool is not the other's to read.
  virtual void copy_from_other(void* to, const void* from, int other, std::size_t bytes) = 0;
  /// Writes `count` copies of an element of 1, 2, 4 or 8 bytes.
  virtual void fill(void* to, const void* element, std::size_t size, std::size_t count) = 0;
};

}  // namespace clip
