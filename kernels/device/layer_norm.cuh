#pragma once
// LayerNorm of a row that a thread has its share of, for the kernels that end in one.
#include <cmath>

#include "kernels/device/row.cuh"

namespace clip::kernels::cuda {

/// out = (row - mean) rstd weight + bias. Returns rstd, of which the mean square deviation is a pass of its own.
template <int Kept, class T>
__device__ __forceinline__ float normalize_row(RowThreads& threads, T* out, const RowShare<T, Kept>& row, float mean,
                                               const float* weight, const float* bias, float eps) {
  float squares = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) squares += (v[e] - mean) * (v[e] - mean);
      },
      row);
  const float rstd = 1.0f / sqrtf(threads.sum(squares) / static_cast<float>(threads.cols) + eps);
  threads.each(
      [&](At at, auto v) {
        const auto w = load<v.size>(weight + at.column), b = load<v.size>(bias + at.column);
        for (int e = 0; e < v.size; ++e) v[e] = (v[e] - mean) * rstd * w[e] + b[e];
        store(out + at.column, v);
      },
      row);
  return rstd;
}

/// The gradient of such a row: with n = (x - mean) rstd and g = dy weight it is dx = rstd (g - mean(g) - n mean(g n)).
class RowGradient {
 public:
  /// The two means are a pass over the row.
  template <int Kept, class T>
  __device__ __forceinline__ RowGradient(RowThreads& threads, const RowShare<T, Kept>& dy, const RowShare<T, Kept>& x,
                                         float mean, float rstd, const float* weight)
      : mean_(mean), rstd_(rstd), weight_(weight) {
    threads.each(
        [&](At at, auto d, auto v) {
          const auto w = load<d.size>(weight + at.column);
          for (int e = 0; e < d.size; ++e) {
            g_means_[0] += d[e] * w[e];
            g_means_[1] += d[e] * w[e] * ((v[e] - mean) * rstd);
          }
        },
        dy, x);
    g_means_ = threads.sum(g_means_);
    for (int i = 0; i < 2; ++i) g_means_[i] /= static_cast<float>(threads.cols);
  }

  /// Replaces `d` of dy by that of dx, and adds to the sums 0 and 1 of its columns what weight and bias get.
  template <class Sums, class V>
  __device__ __forceinline__ void apply(Sums& sums, At at, V& d, const V& x) const {
    const auto w = load<V::size>(weight_ + at.column);
    for (int e = 0; e < V::size; ++e) {
      const float n = (x[e] - mean_) * rstd_;
      sums.add(0, at, e, d[e] * n);
      sums.add(1, at, e, d[e]);
      d[e] = rstd_ * (d[e] * w[e] - g_means_[0] - n * g_means_[1]);
    }
  }

 private:
  float mean_, rstd_;
  const float* weight_;
  Floats<2> g_means_{};
};

}  // namespace clip::kernels::cuda
