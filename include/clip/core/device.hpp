#pragma once
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>

namespace clip {

struct IndexFaults;
class CudaContext;  // stream and allocator of one GPU, see src/core/cuda_context.hpp

/// Where a tensor lives. A value: the CPU, or a handle to a CUDA context that owns a stream and its memory pool.
/// Tensors keep their context alive. Two calls of `Device::cuda(0)` give two contexts, each with its own stream;
/// make one and pass it around.
class Device {
 public:
  /// The CPU.
  Device() = default;
  static Device cpu() { return {}; }
  /// GPU `index`. Throws when the library was built without CUDA or there is no such GPU. Handles of GPUs, and tensors
  /// there, must go before `main` returns, so not be static: cuDNN, which they end, has ended itself by then.
  static Device cuda(int index = 0);
  /// How many GPUs can be used; 0 when built without CUDA.
  static int cuda_count();

  bool is_cpu() const { return cuda_ == nullptr; }
  bool is_cuda() const { return cuda_ != nullptr; }
  /// `cpu` or `cuda:0`.
  std::string name() const;
  /// Whether a `Graph` is being recorded, rather than work done.
  bool capturing() const;
  /// Where kernels note indices that are not what they must be; the next wait for the GPU throws one of them. See
  /// `index_fault.hpp`.
  IndexFaults* index_faults() const;
  /// Waits for all work given to the device. Throws what it found wrong with indices, as every wait does.
  void synchronize() const;
  /// The CUDA stream as a `cudaStream_t`; null on the CPU.
  void* stream() const;
  /// What kernels keep for this GPU and its stream (handles of libraries, plans), one for each `make`, which makes it
  /// at its first use, though not while a graph is recorded. It goes with the context.
  void* kept(std::shared_ptr<void> (*make)(void* stream)) const;

  /// 64-byte aligned memory. Throws `Error` with the number of bytes when there is not enough.
  void* allocate(std::size_t bytes) const;
  void release(void* memory, std::size_t bytes) const noexcept;
  /// Writes `count` copies of an element of 1, 2, 4 or 8 bytes to a GPU's memory, in the order of its stream.
  void fill(void* to, const void* element, std::size_t size, std::int64_t count) const;

  friend bool operator==(const Device& a, const Device& b) { return a.cuda_ == b.cuda_; }
  friend class Graph;
  friend void copy_bytes(void* to, const Device& to_device, const void* from, const Device& from_device,
                         std::size_t bytes);

 private:
  std::shared_ptr<CudaContext> cuda_;
};

/// Copies between any two devices. When this returns, `from` may be written to; what was copied to the CPU, or from one
/// GPU to another, is there.
void copy_bytes(void* to, const Device& to_device, const void* from, const Device& from_device, std::size_t bytes);

std::ostream& operator<<(std::ostream& out, const Device& device);

/// Whether matrix products in bf16 are faster than in f32 on this device.
bool has_fast_bf16(const Device& device);

/// Threads the CPU kernels use (OpenMP's setting of the calling thread). At first: one for each core.
int num_threads();
/// Throws unless `count` >= 1.
void set_num_threads(int count);

}  // namespace clip
