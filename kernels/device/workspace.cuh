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

/// Scratch memory of a stream, of which every user has all while its turn lasts. It grows to what was asked for most,
/// in steps of at least two; smaller blocks stay, because graphs that were recorded with them use them on.
class Workspace {
 public:
  explicit Workspace(Stream stream) : stream_(stream) {}
  ~Workspace() {
    for (void* block : blocks_) cudaFreeAsync(block, stream_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Throws when memory is short, or when it would have to grow while a graph is recorded.
  void* get(std::size_t bytes, const char* op) {
    if (bytes <= bytes_) return bytes == 0 ? nullptr : blocks_.back();
    cudaStreamCaptureStatus capturing{};
    cudaStreamIsCapturing(stream_, &capturing);
    check(capturing == cudaStreamCaptureStatusNone, op,
          "expected scratch memory from before a graph is recorded, got a ", "first request for ", bytes,
          " bytes: run the work once before");
    const std::size_t size = std::bit_ceil(bytes);
    void* block = nullptr;
    const cudaError_t status = cudaMallocAsync(&block, size, stream_);
    if (status != cudaSuccess) {
      cudaGetLastError();  // must not surface in the next call
      fail(op, "allocating ", size, " bytes of scratch memory: ", cudaGetErrorString(status), ": use smaller batches");
    }
    bytes_ = size;
    return blocks_.emplace_back(block);
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
