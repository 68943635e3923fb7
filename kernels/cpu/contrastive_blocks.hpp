#pragma once
// What the contrastive losses share: blocks of rows of logits, statistics of rows and columns, products with a block.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/contrastive.hpp"
#include "kernels/cpu/row_statistics.hpp"
#include "kernels/matmul.hpp"

namespace clip::kernels::cpu {

/// Hands out parts of the scratch memory.
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* take(std::int64_t count) {
    float* part = next_;
    next_ += count;
    return part;
  }

 private:
  float* next_;
};

/// Rows `first` to `first` + `rows` of the n x n logits.
struct RowBlock {
  std::int64_t first, rows, n;
};

/// f(block) for each block of rows.
template <class F>
void for_blocks(std::int64_t n, const F& f) {
  const std::int64_t step = contrastive_block_rows(n);
  for (std::int64_t first = 0; first < n; first += step) f(RowBlock{first, std::min(step, n - first), n});
}
inline bool one_block(std::int64_t n) { return contrastive_block_rows(n) == n; }

/// y = rows of the block of a b^T; a and b are [n, k].
inline void block_logits(float* y, const RowBlock& block, const float* a, const float* b, std::int64_t k) {
  matmul(y, a + block.first * k, b, MatmulShape{.m = block.rows, .n = block.n, .k = k, .transpose_b = true});
}
/// The block's rows of y = g b, added to what they hold where `accumulate`; g holds the block, b and y are [n, k].
inline void block_product(float* y, const RowBlock& block, const float* g, const float* b, std::int64_t k,
                          bool accumulate) {
  matmul(y + block.first * k, g, b, MatmulShape{.m = block.rows, .n = k, .k = block.n}, {.accumulate = accumulate});
}
/// y = g^T times the block's rows of b, added to what y holds where `accumulate`.
inline void block_product_transposed(float* y, const RowBlock& block, const float* g, const float* b, std::int64_t k,
                                     bool accumulate) {
  matmul(y, g, b + block.first * k, MatmulShape{.m = block.n, .n = k, .k = block.rows, .transpose_a = true},
         {.accumulate = accumulate});
}

/// f(global row, its row in the block) on all threads.
template <class F>
void for_rows(const RowBlock& block, const F& f) {
  parallel_rows(block.rows, block.n, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(block.first + row, row * block.n);
  });
}

/// A log-sum-exp as top + log_sum, kept apart because differences to a large top would lose the digits of log_sum.
struct LogSumExp {
  float top, log_sum;
};
CLIP_INLINE LogSumExp row_log_sum_exp(const float* x, std::int64_t n) {
  const float top = row_max(x, n);
  return {top, std::log(row_sum_exp(x, n, top))};
}
/// e^(x - lse)
CLIP_INLINE f32x16 exp_from(f32x16 x, LogSumExp lse) { return exp_nonpositive((x - lse.top) - lse.log_sum); }

/// The log-sum-exp of every column over the blocks seen so far. Threads share the columns; a strip of them is walked
/// row by row, so that memory is read in order while the strip's sums stay in the nearest cache.
struct ColumnSums {
  float *top, *log_sum;  ///< [n]; before `finish` log_sum holds the sum

  void clear(std::int64_t n) const {
    std::fill_n(top, n, -__builtin_inff());
    std::fill_n(log_sum, n, 0.0f);
  }
  void add(const RowBlock& block, const float* logits) const {
    const std::int64_t grain = std::max<std::int64_t>(1, elements_per_thread / block.rows);
    parallel_for(
        block.n, grain,
        [=, *this](std::int64_t begin, std::int64_t end) {
          for (std::int64_t at = begin; at < end; at += strip) add_strip(block, logits, at, std::min(strip, end - at));
        },
        lanes);
  }
  void finish(std::int64_t n) const {
    for (std::int64_t j = 0; j < n; ++j) log_sum[j] = std::log(log_sum[j]);
  }

 private:
  static constexpr std::int64_t strip = 1024;

  CLIP_INLINE void add_strip(const RowBlock& block, const float* logits, std::int64_t at, std::int64_t cols) const {
    alignas(64) float before[strip];
    float *const m = top + at, *const s = log_sum + at;
    std::copy_n(m, cols, before);
    for (std::int64_t row = 0; row < block.rows; ++row)
      map(
          m, 0, cols, false, [](f32x16 a, f32x16 b) __attribute__((always_inline)) { return max(a, b); }, m,
          logits + row * block.n + at);
    map(
        s, 0, cols, false, [](f32x16 old, f32x16 from, f32x16 now) __attribute__((always_inline)) {
          return old * exp_nonpositive(from - now);
        },
        s, before, m);
    for (std::int64_t row = 0; row < block.rows; ++row)
      map(
          s, 0, cols, false, [](f32x16 old, f32x16 x, f32x16 now) __attribute__((always_inline)) {
            return old + exp_nonpositive(x - now);
          },
          s, logits + row * block.n + at, m);
  }
};

/// `v` with 0 in the lanes that a count leaves out.
CLIP_INLINE f32x16 only(f32x16 v, AllLanes) { return v; }
CLIP_INLINE f32x16 only(f32x16 v, std::int64_t count) { return first_lanes(v, count); }

/// y = x factor
inline void scale_rows(float* y, const float* x, float factor, std::int64_t count) {
  parallel_elements(count, [=](std::int64_t begin, std::int64_t end) {
    map(
        y, begin, end, false, [=](f32x16 v) __attribute__((always_inline)) { return v * factor; }, x);
  });
}

/// Sum of a b over [n, k], rows in f32 (into `row_sums` [n]), their sum in double.
inline double dot_rows(const float* a, const float* b, std::int64_t n, std::int64_t k, float* row_sums) {
  parallel_rows(n, k, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) row_sums[i] = dot(a + i * k, b + i * k, k);
  });
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += static_cast<double>(row_sums[i]);
  return total;
}

}  // namespace clip::kernels::cpu
