// One warp has a row of logits, or several where it is wide (kernels/device/row.cuh). The rows' losses are added up by
// one block of threads, in double and in a fixed order. The gradient of the mean is read on the GPU, so that nothing
// waits for the host.
#include <cmath>
#include <type_traits>

#include "kernels/cross_entropy.hpp"
#include "kernels/device/row.cuh"
#include "kernels/device/total.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;  // vectors of a row in each thread

template <class T>
__global__ void __launch_bounds__(total_threads) mean_of(T* mean, const float* losses, std::int64_t rows) {
  const double sum = total_of(rows, [&](std::int64_t r) { return static_cast<double>(losses[r]); });
  if (threadIdx.x == 0) *mean = T(static_cast<float>(sum / static_cast<double>(rows)));
}

/// `Target` is T for soft targets, an integer for classes.
template <class T, class Target>
__global__ void __launch_bounds__(most_row_threads)
    forward(float* losses, float* lse, const T* x, const Target* targets, std::int64_t rows, std::int64_t cols,
            bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto in = threads.template read<kept>(x + row * cols);
  float top = -HUGE_VALF, sum = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) top = fmaxf(top, v[e]);
      },
      in);
  top = threads.max(top);
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) sum += __expf(v[e] - top);
      },
      in);
  const float log_sum_exp = top + logf(threads.sum(sum));
  float loss = 0;
  if constexpr (std::is_integral_v<Target>) {
    loss = log_sum_exp - widen(x[row * cols + targets[row]]);
  } else {
    threads.each(
        [&](At, auto v, auto t) {
          for (int e = 0; e < v.size; ++e) loss += t[e] == 0.0f ? 0.0f : t[e] * (log_sum_exp - v[e]);
        },
        in, threads.template read<kept>(targets + row * cols));
    loss = threads.sum(loss);
  }
  if (threads.thread != 0) return;
  lse[row] = log_sum_exp;
  losses[row] = loss;
}

template <class T, class Target>
__global__ void __launch_bounds__(most_row_threads)
    backward(T* dx, const T* dmean, const T* x, const Target* targets, const float* lse, std::int64_t rows,
             std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto in = threads.template read<kept>(x + row * cols);
  const float log_sum_exp = lse[row], scale = widen(*dmean) / static_cast<float>(rows);
  T* const out = dx + row * cols;
  if constexpr (std::is_integral_v<Target>) {
    const auto hit = static_cast<int>(targets[row]);
    threads.each(
        [&](At at, auto v) {
          for (int e = 0; e < v.size; ++e)
            v[e] = (__expf(v[e] - log_sum_exp) - (at.column + e == hit ? 1.0f : 0.0f)) * scale;
          store(out + at.column, v);
        },
        in);
  } else {
    const auto soft = threads.template read<kept>(targets + row * cols);
    float total = 0;
    threads.each(
        [&](At, auto t) {
          for (int e = 0; e < t.size; ++e) total += t[e];
        },
        soft);
    total = threads.sum(total);
    threads.each(
        [&](At at, auto v, auto t) {
          for (int e = 0; e < v.size; ++e) v[e] = (__expf(v[e] - log_sum_exp) * total - t[e]) * scale;
          store(out + at.column, v);
        },
        in, soft);
  }
}

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    targets_backward(T* dt, const T* dmean, const T* x, const float* lse, std::int64_t rows, std::int64_t cols,
                     bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const float log_sum_exp = lse[row], scale = widen(*dmean) / static_cast<float>(rows);
  T* const out = dt + row * cols;
  threads.each(
      [&](At at, auto v) {
        for (int e = 0; e < v.size; ++e) v[e] = (log_sum_exp - v[e]) * scale;
        store(out + at.column, v);
      },
      threads.template read<kept>(x + row * cols));
}

template <class T, class Target>
void launch_forward(T* mean, float* lse, const T* x, const Target* targets, std::int64_t rows, std::int64_t cols,
                    float* scratch, Stream stream) {
  const bool vectors = in_vectors<T>(cols, x) && (std::is_integral_v<Target> || in_vectors<T>(cols, targets));
  launch("cross_entropy", row_grid<T, kept>(rows, cols), stream, forward<T, Target>, scratch, lse, x, targets, rows,
         cols, vectors);
  launch("cross_entropy", total_grid, stream, mean_of<T>, mean, scratch, rows);
}

template <class T, class Target>
void launch_backward(T* dx, const T* dmean, const T* x, const Target* targets, const float* lse, std::int64_t rows,
                     std::int64_t cols, Stream stream) {
  const bool vectors = in_vectors<T>(cols, dx, x) && (std::is_integral_v<Target> || in_vectors<T>(cols, targets));
  launch("cross_entropy", row_grid<T, kept>(rows, cols), stream, backward<T, Target>, dx, dmean, x, targets, lse, rows,
         cols, vectors);
}

}  // namespace

template <class T, class I>
void cross_entropy_forward(T* mean, float* lse, const T* x, const I* classes, std::int64_t rows, std::int64_t cols,
                           float* scratch, Stream stream) {
  launch_forward(mean, lse, x, classes, rows, cols, scratch, stream);
}
template <class T>
void soft_cross_entropy_forward(T* mean, float* lse, const T* x, const T* t, std::int64_t rows, std::int64_t cols,
                                float* scratch, Stream stream) {
  launch_forward(mean, lse, x, t, rows, cols, scratch, stream);
}
template <class T, class I>
void cross_entropy_backward(T* dx, const T* dmean, const T* x, const I* classes, const float* lse, std::int64_t rows,
                            std::int64_t cols, Stream stream) {
  launch_backward(dx, dmean, x, classes, lse, rows, cols, stream);
}
template <class T>
void soft_cross_entropy_backward(T* dx, const T* dmean, const T* x, const T* t, const float* lse, std::int64_t rows,
                                 std::int64_t cols, Stream stream) {
  launch_backward(dx, dmean, x, t, lse, rows, cols, stream);
}
template <class T>
void soft_cross_entropy_targets_backward(T* dt, const T* dmean, const T* x, const float* lse, std::int64_t rows,
                                         std::int64_t cols, Stream stream) {
  launch("cross_entropy", row_grid<T, kept>(rows, cols), stream, targets_backward<T>, dt, dmean, x, lse, rows, cols,
         in_vectors<T>(cols, dt, x));
}

template void cross_entropy_forward(float*, float*, const float*, const std::int32_t*, std::int64_t, std::int64_t,
                                    float*, Stream);
template void cross_entropy_backward(float*, const float*, const float*, const std::int32_t*, const float*,
                                     std::int64_t, std::int64_t, Stream);
template void cross_entropy_forward(float*, float*, const float*, const std::int64_t*, std::int64_t, std::int64_t,
                                    float*, Stream);
template void cross_entropy_backward(float*, const float*, const float*, const std::int64_t*, const float*,
                                     std::int64_t, std::int64_t, Stream);
template void soft_cross_entropy_forward(float*, float*, const float*, const float*, std::int64_t, std::int64_t, float*,
                                         Stream);
template void soft_cross_entropy_backward(float*, const float*, const float*, const float*, const float*, std::int64_t,
                                          std::int64_t, Stream);
template void soft_cross_entropy_targets_backward(float*, const float*, const float*, const float*, std::int64_t,
                                                  std::int64_t, Stream);
template void cross_entropy_forward(bf16*, float*, const bf16*, const std::int32_t*, std::int64_t, std::int64_t, float*,
                                    Stream);
template void cross_entropy_backward(bf16*, const bf16*, const bf16*, const std::int32_t*, const float*, std::int64_t,
                                     std::int64_t, Stream);
template void cross_entropy_forward(bf16*, float*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t, float*,
                                    Stream);
template void cross_entropy_backward(bf16*, const bf16*, const bf16*, const std::int64_t*, const float*, std::int64_t,
                                     std::int64_t, Stream);
template void soft_cross_entropy_forward(bf16*, float*, const bf16*, const bf16*, std::int64_t, std::int64_t, float*,
                                         Stream);
template void soft_cross_entropy_backward(bf16*, const bf16*, const bf16*, const bf16*, const float*, std::int64_t,
                                          std::int64_t, Stream);
template void soft_cross_entropy_targets_backward(bf16*, const bf16*, const bf16*, const float*, std::int64_t,
                                                  std::int64_t, Stream);
template void cross_entropy_forward(f16*, float*, const f16*, const std::int32_t*, std::int64_t, std::int64_t, float*,
                                    Stream);
template void cross_entropy_backward(f16*, const f16*, const f16*, const std::int32_t*, const float*, std::int64_t,
                                     std::int64_t, Stream);
template void cross_entropy_forward(f16*, float*, const f16*, const std::int64_t*, std::int64_t, std::int64_t, float*,
                                    Stream);
template void cross_entropy_backward(f16*, const f16*, const f16*, const std::int64_t*, const float*, std::int64_t,
                                     std::int64_t, Stream);
template void soft_cross_entropy_forward(f16*, float*, const f16*, const f16*, std::int64_t, std::int64_t, float*,
                                         Stream);
template void soft_cross_entropy_backward(f16*, const f16*, const f16*, const f16*, const float*, std::int64_t,
                                          std::int64_t, Stream);
template void soft_cross_entropy_targets_backward(f16*, const f16*, const f16*, const float*, std::int64_t,
                                                  std::int64_t, Stream);

}  // namespace clip::kernels::cuda
