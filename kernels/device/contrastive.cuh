#pragma once
// What the kernels of the contrastive losses share, for f32 and for 16 bits: the numbers and ids they find in the GPU's
// memory, and the mean of each text's positives.
#include <cmath>

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/total.cuh"

namespace clip::kernels::cuda {

/// Hands out a loss's scratch memory part by part, each at a multiple of 256 bytes; of no memory it counts what they
/// take. The parts of a loss are a struct, which the loss makes, and what says how much it needs makes of no memory.
class ScratchParts {
 public:
  explicit ScratchParts(float* memory) : memory_(memory) {}
  template <class V>
  V* take(std::int64_t count) {
    float* const part = memory_ == nullptr ? nullptr : memory_ + taken_;
    taken_ += (count * static_cast<std::int64_t>(sizeof(V)) + 255) / 256 * 64;
    return reinterpret_cast<V*>(part);
  }
  std::int64_t taken() const { return taken_; }

 private:
  float* memory_;
  std::int64_t taken_ = 0;  // f32 elements
};
template <class Memory, class... Sizes>
std::int64_t scratch_for(const Sizes&... sizes) {
  ScratchParts parts(nullptr);
  Memory(parts, sizes...);
  return parts.taken();
}

/// s = e^min(*log, most); NaN unless *log is finite.
struct LogitScale {
  const float* log;
  float most;
  __device__ float value() const { return expf(fminf(*log, most)) + 0 * *log; }
};
/// tau; NaN unless it is above 0.
__device__ inline float temperature_at(const float* tau) { return *tau > 0 ? *tau : NAN; }

/// Pairs with the same id are positives: without ids those of one row alone.
struct Ids {
  const std::int32_t* ids;
  __device__ std::int32_t operator[](std::int64_t i) const {
    return ids == nullptr ? static_cast<std::int32_t>(i) : ids[i];
  }
};

/// Of each text, by a warp: share = 1 / the number of its positives, and mean = that times their sum of t_i . v_j.
template <class T>
__global__ void positives(float* mean, float* share, const T* text, const T* image, Ids ids, std::int64_t n,
                          std::int64_t d) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (i >= n) return;
  const int lane = static_cast<int>(threadIdx.x);
  const auto add = [&](float& sum, std::int64_t j) {
    for (std::int64_t k = lane; k < d; k += 32) sum += widen(text[i * d + k]) * widen(image[j * d + k]);
  };
  float sum = 0, count = 0;
  if (ids.ids == nullptr) {
    add(sum, i);
    count = 1;
  } else {
    const std::int32_t id = ids[i];
    for (std::int64_t first = 0; first < n; first += 32) {
      unsigned found = __ballot_sync(~0u, first + lane < n && ids[first + lane] == id);
      for (; found != 0; found &= found - 1, ++count) add(sum, first + 31 - __clz(static_cast<int>(found & -found)));
    }
  }
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
  if (lane != 0) return;
  share[i] = 1 / count;
  mean[i] = sum / count;
}
inline Grid positives_grid(std::int64_t n) { return {(n + 7) / 8, {32, 8}}; }

}  // namespace clip::kernels::cuda
