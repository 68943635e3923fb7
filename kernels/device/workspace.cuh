#pragma once
// What the kernels that are a library's share.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "clip/core/error.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cuda {

/// Scratch memory of a stream, of which every user has all while its turn lasts. It grows to what was asked for most.
class Workspace {
 public:
  explicit Workspace(Stream stream) : stream_(stream) {}
  ~Workspace() {
    if (block_ != nullptr) cudaFreeAsync(block_, stream_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* get(std::size_t bytes, const char* op) {
    if (bytes <= bytes_) return bytes == 0 ? nullptr : block_;
    const std::size_t size = std::bit_ceil(bytes);
    void* block = nullptr;
    const cudaError_t status = cudaMallocAsync(&block, size, stream_);
    if (status != cudaSuccess) {
      cudaGetLastError();  // must not surface in the next call
      fail(op, "allocating ", size, " bytes of scratch memory: ", cudaGetErrorString(status));
    }
    if (block_ != nullptr) cudaFreeAsync(block_, stream_);  // once what was put into the stream before is done
    bytes_ = size;
    return block_ = block;
  }

 private:
  Stream stream_;
  void* block_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The largest power of two, at most 256, that divides an address.
inline std::uint32_t alignment_of(const void* p) {
  return 1u << std::min(8, std::countr_zero(reinterpret_cast<std::uintptr_t>(p)));
}

}  // namespace clip::kernels::cuda
