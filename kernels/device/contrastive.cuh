#pragma once
// What the kernels of the contrastive losses share, for f32 and for 16 bits: the numbers and ids they find in the GPU's
// memory, sums of exponentials, and the mean of each text's positives.
#include <cmath>
#include <iterator>

#include "kernels/device/elements.cuh"
#include "kernels/device/exp2.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/total.cuh"
#include "kernels/device/warp.cuh"

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

/// Below every logit, but finite: differences stay numbers.
inline constexpr float no_logit = -1e30f;

/// The exponential and logarithm of logits in base e, or 2.
struct BaseE {
  __device__ static float exp(float x) { return __expf(x); }
  __device__ static float log(float x) { return logf(x); }
};
struct Base2 {
  __device__ static float exp(float x) { return exp2_approximately(x); }
  __device__ static float log(float x) { return log2f(x); }
};
/// The log-sum-exp of the logits so far: top + log(sum), sum = sum of exp(logit - top).
template <class Base>
struct LogSumExp {
  float top = no_logit, sum = 0;

  /// Makes `least` the least top; returns what sums made so far are multiplied by.
  __device__ float raise(float least) {
    const float now = fmaxf(top, least), factor = Base::exp(top - now);
    sum *= factor;
    top = now;
    return factor;
  }
  /// As many logits more, all the same.
  __device__ void add(float logit, float count = 1) {
    raise(logit);
    sum += count * Base::exp(logit - top);
  }
  __device__ void add(const LogSumExp& part) { add(part.top, part.sum); }
  __device__ float value() const { return top + Base::log(sum); }
};

/// log(1 + e^w) = max(w, 0) + log(1 + e^-|w|), and its slope above / below = sigmoid(w), from `e` = e^-|w|.
struct Softplus {
  float value, above, below;
  __device__ Softplus(float w, float e)
      : value(fmaxf(w, 0.0f) + log1pf(e)), above(w < 0.0f ? e : 1.0f), below(1.0f + e) {}
};

/// *y = factor times the sum of `n` numbers, `stride` apart.
template <class Number>
__global__ void __launch_bounds__(total_threads)
    scaled_total(float* y, const Number* x, int stride, double factor, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) { return static_cast<double>(x[i * stride]); });
  if (threadIdx.x == 0) *y = static_cast<float>(total * factor);
}

/// Texts that a block has, a warp each, and ids that it looks at together.
inline constexpr unsigned positive_rows = 8;
struct IdsAhead {
  std::int32_t each[1024];
};

/// Of each text, by a warp: share = 1 / the number of its positives, and mean = that times their sum of t_i . v_j.
/// With ids it reads n^2 / 2 bytes of them, and a lane compares four at a time.
template <class T>
__global__ void __launch_bounds__(32 * positive_rows)
    positives(float* mean, float* share, const T* text, const T* image, Ids ids, std::int64_t n, std::int64_t d) {
  const std::int64_t i = std::int64_t{blockIdx.x} * positive_rows + threadIdx.y;
  const int lane = static_cast<int>(threadIdx.x);
  float sum = 0, count = 0;
  const auto add = [&](std::int64_t j) {
    for (std::int64_t k = lane; k < d; k += 32) sum += widen(text[i * d + k]) * widen(image[j * d + k]);
    ++count;
  };
  if (ids.ids == nullptr) {
    if (i < n) add(i);
  } else {
    auto& ahead = shared_as<IdsAhead>().each;
    const std::int32_t id = i < n ? ids[i] : 0;
    for (std::int64_t first = 0; first < n; first += std::ssize(ahead)) {
      __syncthreads();
      for (int k = static_cast<int>(threadIdx.y) * 32 + lane; k < std::ssize(ahead); k += 32 * positive_rows)
        ahead[k] = first + k < n ? ids[first + k] : 0;
      __syncthreads();
      for (int part = 0; part < std::ssize(ahead) && first + part < n; part += 128) {
        const std::int64_t own = first + part + 4 * lane;
        const auto four = load_packed<4>(ahead + part + 4 * lane);
        unsigned same = 0;
        for (int e = 0; e < 4; ++e)
          if (i < n && own + e < n && four.e[e] == id) same |= 1u << e;
        for (unsigned lanes = __ballot_sync(all_lanes, same != 0); lanes != 0; lanes &= lanes - 1) {
          const int from = lowest_bit(lanes);
          for (unsigned which = __shfl_sync(all_lanes, same, from); which != 0; which &= which - 1)
            add(first + part + 4 * from + lowest_bit(which));
        }
      }
    }
  }
  warp_sum(sum);
  if (lane != 0 || i >= n) return;
  share[i] = 1 / count;
  mean[i] = sum / count;
}
inline Grid positives_grid(std::int64_t n) {
  return {(n + positive_rows - 1) / positive_rows, {32, positive_rows}, sizeof(IdsAhead)};
}

}  // namespace clip::kernels::cuda
