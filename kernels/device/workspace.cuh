#pragma once
// What the kernels that are a library's share.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "clip/core/error.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cuda {

/// Scratch memory of a stream, of which every user has all while its turn lasts. It grows to what was asked for most;
/// former blocks are kept, because a captured graph may name them.
class Workspace {
 public:
  explicit Workspace(Stream stream) : stream_(stream) {}
  ~Workspace() {
    for (void* const block : blocks_) cudaFreeAsync(block, stream_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* get(std::size_t bytes, const char* op) {
    if (bytes <= bytes_) return bytes == 0 ? nullptr : blocks_.back();
    const std::size_t size = std::bit_ceil(bytes);  // at least doubled: all blocks together are less than two of it
    void* block = nullptr;
    blocks_.reserve(blocks_.size() + 1);
    const cudaError_t status = cudaMallocAsync(&block, size, stream_);
    if (status != cudaSuccess) {
      cudaGetLastError();  // must not surface in the next call
      fail(op, "allocating ", size, " bytes of scratch memory: ", cudaGetErrorString(status));
    }
    blocks_.push_back(block);
    bytes_ = size;
    return block;
  }

 private:
  Stream stream_;
  std::vector<void*> blocks_;
  std::size_t bytes_ = 0;
};

/// The largest power of two, at most 256, that divides an address.
inline std::uint32_t alignment_of(const void* p) {
  return 1u << std::min(8, std::countr_zero(reinterpret_cast<std::uintptr_t>(p)));
}

}  // namespace clip::kernels::cuda
