#pragma once
// The tail of a projection head, z = dropout(y) + h and out = LayerNorm(z), its gradient and that of GELU: of a row
// that a thread has its share of, for the kernels that do these alone or in a whole head.
#include "kernels/device/activation.cuh"
#include "kernels/device/dropout.cuh"
#include "kernels/device/layer_norm.cuh"
#include "kernels/projection_head.hpp"

namespace clip::kernels::cuda {

/// What the tail of a head reads and writes, but for y.
template <class T>
struct Tail {
  T *out, *z;  ///< z is null where backward will not need it; mean and rstd are then not written
  float *mean, *rstd;
  const T* h;
  const float *weight, *bias;
  float eps;
  Dropped dropped;
  bool drops;

  /// The tail of a row whose y is there.
  template <int Kept>
  __device__ __forceinline__ void apply(RowThreads& threads, const T* y, std::int64_t row) const {
    const std::int64_t first = row * threads.cols;
    auto zs = threads.template read<Kept>(y);
    float sum = 0;
    threads.each(
        [&](At at, auto v, auto residual) {
          if (drops) dropped.apply(first + at.column, v);
          for (int e = 0; e < v.size; ++e) v[e] += residual[e];
          const auto rounded = round<T>(v);  // what backward will read: statistics are of that
          if (z != nullptr) store(z + first + at.column, rounded);
          if constexpr (v.size > 1)
            if (at.kept >= 0) zs.kept[at.kept] = rounded;
          v = widen(rounded);
          for (int e = 0; e < v.size; ++e) sum += v[e];
        },
        zs, threads.template read<Kept>(h + first));
    const float m = threads.sum(sum) / static_cast<float>(threads.cols);
    const float s = normalize_row(threads, out + first, zs, m, weight, bias, eps);
    if (threads.thread == 0 && z != nullptr) {
      mean[row] = m;
      rstd[row] = s;
    }
  }
};

/// What the tail's backward reads and writes, but for dy.
template <class T>
struct TailGradient {
  T* dz;
  const T *dout, *z;
  const float *mean, *rstd, *weight;
  Dropped dropped;
  bool drops;

  /// Of a row; keep(at, dy) gets its share of dy, and `sums` what scale, shift and the second bias get.
  template <int Kept, class Sums, class Keep>
  __device__ __forceinline__ void apply(RowThreads& threads, Sums& sums, std::int64_t row, const Keep& keep) const {
    const std::int64_t first = row * threads.cols;
    const auto douts = threads.template read<Kept>(dout + first), zs = threads.template read<Kept>(z + first);
    const RowGradient gradient(threads, douts, zs, mean[row], rstd[row], weight);
    threads.each(
        [&](At at, auto g, auto v) {
          gradient.apply(sums, at, g, v);
          store(dz + first + at.column, g);
          if (drops) dropped.apply(first + at.column, g);
          for (int e = 0; e < g.size; ++e) sums.add(2, at, e, g[e]);
          keep(at, g);
        },
        douts, zs);
  }
};

/// dh += dg GELU'(h) of a row, where `sums` gets what the first bias does; then(at, its share of h).
template <int Kept, class T, class Sums, class Then>
__device__ __forceinline__ void gelu_gradient(const RowThreads& threads, Sums& sums, T* dh, const T* dg, const T* h,
                                              const Then& then) {
  threads.each(
      [&](At at, auto d, auto g, auto x) {
        for (int e = 0; e < d.size; ++e) {
          d[e] += g[e] * activation_derivative<Activation::gelu>(x[e]);
          sums.add(0, at, e, d[e]);
        }
        store(dh + at.column, d);
        then(at, x);
      },
      threads.template read<Kept>(static_cast<const T*>(dh)), threads.template read<Kept>(dg),
      threads.template read<Kept>(h));
}

}  // namespace clip::kernels::cuda
