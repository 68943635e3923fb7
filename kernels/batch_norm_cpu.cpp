// Threads share blocks of rows. Sums run down the columns, sixteen at a time, a few rows together so that a sum is
// loaded and stored once for all of them. Variances are sums of squared deviations, which do not cancel where the mean
// is large; those of two sets of rows combine as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm
// for computing sample variances", 1979.
#include "kernels/batch_norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/simd.hpp"
#include "kernels/reduce.hpp"

namespace clip::kernels::cpu {
namespace {

/// body(begin, end, partial) for each block of rows; `partial` is that block's [2, cols].
template <class Body>
void for_blocks(float* partial, std::int64_t rows, std::int64_t cols, const Body& body) {
  const std::int64_t blocks = batch_norm_blocks(rows);
  parallel_rows(blocks, rows / blocks * cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      float* own = partial + b * 2 * cols;
      std::fill(own, own + 2 * cols, 0.0f);
      body(rows * b / blocks, rows * (b + 1) / blocks, own);
    }
  });
}

/// Mean and squared deviations of `count` rows and of the `n` before them become those of all.
template <class V, class S>
CLIP_INLINE void combine(V& mean, V& squares, S count, V mean_of_rows, V squares_of_rows, S n) {
  const S share = count / (n + count);
  const V delta = mean_of_rows - mean;
  mean += delta * share;
  squares += squares_of_rows + delta * delta * (n * share);
}

/// Combines `rows` rows with the `n` before them, whose statistics are in `mean` and `squares`.
template <class T>
CLIP_INLINE void add_rows(float* mean, float* squares, std::int64_t n, const T* x, std::int64_t rows,
                          std::int64_t cols) {
  const auto count = static_cast<float>(rows);
  for_vectors(
      cols, [=](std::int64_t i, auto part) __attribute__((always_inline)) {
        f32x16 sum = {}, own = {};
        for (std::int64_t r = 0; r < rows; ++r) sum += load(x + r * cols + i, part);
        const f32x16 own_mean = sum / count;
        for (std::int64_t r = 0; r < rows; ++r) {
          const f32x16 deviation = load(x + r * cols + i, part) - own_mean;
          own += deviation * deviation;
        }
        f32x16 m = load(mean + i, part), q = load(squares + i, part);
        combine(m, q, count, own_mean, own, static_cast<float>(n));
        store(mean + i, m, part);
        store(squares + i, q, part);
      });
}

/// Adds dy n and dy of `rows` rows to dw and db.
template <class T>
CLIP_INLINE void add_gradients(float* dw, float* db, const T* dy, const T* x, const float* mean, const float* rstd,
                               std::int64_t rows, std::int64_t cols) {
  for_vectors(
      cols, [=](std::int64_t i, auto part) __attribute__((always_inline)) {
        const f32x16 m = load(mean + i, part), s = load(rstd + i, part);
        f32x16 w = {}, b = {};
        for (std::int64_t r = 0; r < rows; ++r) {
          const f32x16 g = load(dy + r * cols + i, part);
          w += g * (load(x + r * cols + i, part) - m);
          b += g;
        }
        store(dw + i, load(dw + i, part) + w * s, part);
        store(db + i, load(db + i, part) + b, part);
      });
}

constexpr std::int64_t together = 8;  // rows

}  // namespace

template <class T>
void batch_norm_statistics(float* mean, float* variance, float* partial, const T* x, std::int64_t rows,
                           std::int64_t cols) {
  for_blocks(partial, rows, cols, [=](std::int64_t begin, std::int64_t end, float* own) {
    std::int64_t r = begin;
    for (; r + together <= end; r += together) add_rows(own, own + cols, r - begin, x + r * cols, together, cols);
    if (r < end) add_rows(own, own + cols, r - begin, x + r * cols, end - r, cols);
  });
  const std::int64_t blocks = batch_norm_blocks(rows);
  for (std::int64_t c = 0; c < cols; ++c) {
    double m = 0, q = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t begin = rows * b / blocks, end = rows * (b + 1) / blocks;
      const float* own = partial + b * 2 * cols;
      combine<double>(m, q, static_cast<double>(end - begin), own[c], own[cols + c], static_cast<double>(begin));
    }
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(q / static_cast<double>(rows));
  }
}

void batch_norm_update(float* running_mean, float* running_variance, const float* mean, const float* variance,
                       float momentum, std::int64_t rows, std::int64_t cols) {
  const float unbiased = static_cast<float>(rows) / static_cast<float>(rows - 1);
  for (std::int64_t c = 0; c < cols; ++c) {
    running_mean[c] += momentum * (mean[c] - running_mean[c]);
    running_variance[c] += momentum * (variance[c] * unbiased - running_variance[c]);
  }
}

void batch_norm_rstd(float* rstd, const float* variance, float eps, std::int64_t cols) {
  for (std::int64_t c = 0; c < cols; ++c) rstd[c] = 1.0f / std::sqrt(variance[c] + eps);
}

template <class T>
void batch_norm_forward(T* y, const T* x, const float* mean, const float* rstd, const float* weight, const float* bias,
                        std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    const auto normalise = [](f32x16 v, f32x16 m, f32x16 s, f32x16 w, f32x16 b) __attribute__((always_inline)) {
      return (v - m) * (s * w) + b;
    };
    for (std::int64_t r = begin; r < end; ++r)
      map(y + r * cols, 0, cols, streamed, normalise, x + r * cols, mean, rstd, weight, bias);
  });
}

template <class T>
void batch_norm_parameter_gradients(float* dparameters, float* partial, const T* dy, const T* x, const float* mean,
                                    const float* rstd, std::int64_t rows, std::int64_t cols) {
  for_blocks(partial, rows, cols, [=](std::int64_t begin, std::int64_t end, float* own) {
    std::int64_t r = begin;
    for (; r + together <= end; r += together)
      add_gradients(own, own + cols, dy + r * cols, x + r * cols, mean, rstd, together, cols);
    if (r < end) add_gradients(own, own + cols, dy + r * cols, x + r * cols, mean, rstd, end - r, cols);
  });
  sum(dparameters, partial, 1, batch_norm_blocks(rows), 2 * cols);
}

template <class T>
void batch_norm_backward(T* dx, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
                         const float* dparameters, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const float scale = 1.0f / static_cast<float>(rows);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    const auto running = [](f32x16 g, f32x16 s, f32x16 w) __attribute__((always_inline)) { return g * (s * w); };
    const auto own = [=](f32x16 g, f32x16 v, f32x16 m, f32x16 s, f32x16 w, f32x16 gw, f32x16 gb)
        __attribute__((always_inline)) {
      return s * w * (g - (gb + (v - m) * (s * gw)) * scale);
    };
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t at = r * cols;
      if (dparameters == nullptr)
        map(dx + at, 0, cols, streamed, running, dy + at, rstd, weight);
      else
        map(dx + at, 0, cols, streamed, own, dy + at, x + at, mean, rstd, weight, dparameters, dparameters + cols);
    }
  });
}

template void batch_norm_statistics(float*, float*, float*, const float*, std::int64_t, std::int64_t);
template void batch_norm_statistics(float*, float*, float*, const bf16*, std::int64_t, std::int64_t);
template void batch_norm_forward(float*, const float*, const float*, const float*, const float*, const float*,
                                 std::int64_t, std::int64_t);
template void batch_norm_forward(bf16*, const bf16*, const float*, const float*, const float*, const float*,
                                 std::int64_t, std::int64_t);
template void batch_norm_parameter_gradients(float*, float*, const float*, const float*, const float*, const float*,
                                             std::int64_t, std::int64_t);
template void batch_norm_parameter_gradients(float*, float*, const bf16*, const bf16*, const float*, const float*,
                                             std::int64_t, std::int64_t);
template void batch_norm_backward(float*, const float*, const float*, const float*, const float*, const float*,
                                  const float*, std::int64_t, std::int64_t);
template void batch_norm_backward(bf16*, const bf16*, const bf16*, const float*, const float*, const float*,
                                  const float*, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
