// A row stays in the cache between its passes, so that memory is read and written once.
#include "kernels/projection_head.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/math.hpp"
#include "kernels/cpu/philox.hpp"
#include "kernels/dropout.hpp"

namespace clip::kernels::cpu {
namespace {

/// Calls f(i, count, factors) for the vectors of elements [begin, begin + n) of the mask, i counted from `begin`; the
/// factors are 1 / (1 - p) or 0.
class Dropout {
 public:
  CLIP_INLINE explicit Dropout(const DropoutMask& mask)
      : random_(mask.seed),
        offset_(mask.offset),
        last_dropped_(static_cast<std::uint32_t>(dropout_threshold(mask.p) - 1)),
        scale_(1.0f / (1.0f - mask.p)),
        on_(mask.p > 0) {}

  template <class F>
  CLIP_INLINE void operator()(std::int64_t begin, std::int64_t n, const F& f) const {
    if (!on_)
      return for_vectors(
          n, [&](std::int64_t i, auto count) __attribute__((always_inline)) { f(i, count, splat(1)); });
    alignas(64) std::uint32_t words[chunk + 2 * 2 * lanes];
    for (std::int64_t at = 0; at < n; at += chunk) {
      const std::int64_t size = std::min(chunk, n - at), skipped = (begin + at) % 4;
      const auto block = offset_ + static_cast<std::uint64_t>(begin + at) / 4;
      for (std::int64_t i = 0; i < skipped + size; i += 2 * lanes) {
        const PhiloxWords w = random_.words(block + static_cast<std::uint64_t>(i) / 4);
        std::memcpy(words + i, &w, sizeof w);
      }
      for_vectors(
          size, [&](std::int64_t i, auto count) __attribute__((always_inline)) {
            u32x16 word;
            std::memcpy(&word, words + skipped + i, sizeof word);
            f(at + i, count, word > last_dropped_ ? splat(scale_) : f32x16{});
          });
    }
  }

 private:
  static constexpr std::int64_t chunk = 1024;
  PhiloxStream random_;
  std::uint64_t offset_;
  std::uint32_t last_dropped_;
  float scale_;
  bool on_;
};

/// x factor, and 0 where the factor is, whatever x.
CLIP_INLINE f32x16 dropped(f32x16 x, f32x16 factor) { return factor == 0.0f ? splat(0) : x * factor; }

/// The first and last row of a block.
CLIP_INLINE std::int64_t block_begin(std::int64_t block, std::int64_t rows) {
  return rows * block / column_sum_blocks(rows);
}

}  // namespace

template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols) {
  const float scale = 1.0f / static_cast<float>(cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    const Dropout drop(mask);
    for (std::int64_t r = begin; r < end; ++r) {
      T* const z = y + r * cols;
      const T* const residual = h + r * cols;
      drop(
          r * cols, cols, [=](std::int64_t i, auto count, f32x16 factor) __attribute__((always_inline)) {
            store(z + i, dropped(load(z + i, count), factor) + load(residual + i, count), count);
          });
      const float m = scale * sum_of(z, cols);
      const float variance =
          scale * sum_of(
                      cols, [=](f32x16 v) __attribute__((always_inline)) { return (v - m) * (v - m); }, z);
      const float s = 1.0f / std::sqrt(variance + eps);
      map(
          out + r * cols, 0, cols,
          false, [=](f32x16 v, f32x16 w, f32x16 b) __attribute__((always_inline)) { return (v - m) * s * w + b; }, z,
          weight, bias);
      mean[r] = m;
      rstd[r] = s;
    }
  });
}

template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols) {
  const std::int64_t blocks = column_sum_blocks(rows);
  const float scale = 1.0f / static_cast<float>(cols);
  parallel_rows(blocks, rows / blocks * cols, [=](std::int64_t begin, std::int64_t end) {
    const Dropout drop(mask);
    for (std::int64_t block = begin; block < end; ++block) {
      float *const dweight = partial + block * 3 * cols, *const dbias = dweight + cols, *const dy_sum = dbias + cols;
      std::fill_n(dweight, 3 * cols, 0.0f);
      for (std::int64_t r = block_begin(block, rows); r < block_begin(block + 1, rows); ++r) {
        const T *const g = dout + r * cols, *const in = z + r * cols;
        const float m = mean[r], s = rstd[r];
        f32x16 g_sum = {}, gn_sum = {};  // of g = dout w, and of g n
        for_vectors(
            cols, [&](std::int64_t i, auto count) __attribute__((always_inline)) {
              const f32x16 d = load(g + i, count), n = (load(in + i, count) - m) * s, v = d * load(weight + i, count);
              g_sum += v;
              gn_sum += v * n;
              store(dweight + i, load(dweight + i, count) + d * n, count);
              store(dbias + i, load(dbias + i, count) + d, count);
            });
        const float g_mean = sum(g_sum) * scale, gn_mean = sum(gn_sum) * scale;
        T *const to_h = dz + r * cols, *const to_y = dy + r * cols;
        drop(
            r * cols, cols, [=](std::int64_t i, auto count, f32x16 factor) __attribute__((always_inline)) {
              const f32x16 n = (load(in + i, count) - m) * s;
              const f32x16 d = s * (load(g + i, count) * load(weight + i, count) - g_mean - n * gn_mean);
              const f32x16 kept = dropped(d, factor);
              store(to_h + i, d, count);
              store(to_y + i, kept, count);
              store(dy_sum + i, load(dy_sum + i, count) + kept, count);
            });
      }
    }
  });
}

template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols) {
  constexpr float inv_sqrt_2_pi = 0.3989422804f;
  const std::int64_t blocks = column_sum_blocks(rows);
  parallel_rows(blocks, rows / blocks * cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      float* const sums = partial + block * cols;
      std::fill_n(sums, cols, 0.0f);
      for (std::int64_t r = block_begin(block, rows); r < block_begin(block + 1, rows); ++r)
        for_vectors(
            cols, [=](std::int64_t c, auto count) __attribute__((always_inline)) {
              const std::int64_t i = r * cols + c;
              const f32x16 x = load(h + i, count);
              const NormalTail tail = normal_tail(x);
              const f32x16 slope = x < 0.0f ? -tail.magnitude : tail.magnitude;
              const f32x16 derivative =
                  (x < 0.0f ? tail.probability : 1.0f - tail.probability) + slope * tail.bell * inv_sqrt_2_pi;
              const f32x16 d = load(dh + i, count) + load(dg + i, count) * derivative;
              store(dh + i, d, count);
              store(sums + c, load(sums + c, count) + d, count);
            });
    }
  });
}

template <class T>
void head_totals(const HeadTotals<T>& totals, const float* tail_partial, const float* h_partial, std::int64_t blocks,
                 std::int64_t cols) {
  const auto add_up = [&](auto* total, const float* partial, std::int64_t stride) {
    for (std::int64_t c = 0; c < cols; ++c) {
      float sum = 0;
      for (std::int64_t block = 0; block < blocks; ++block) sum += partial[block * stride + c];
      total[c] = std::remove_pointer_t<decltype(total)>(sum);
    }
  };
  add_up(totals.norm, tail_partial, 3 * cols);
  add_up(totals.norm_bias, tail_partial + cols, 3 * cols);
  add_up(totals.fc_bias, tail_partial + 2 * cols, 3 * cols);
  add_up(totals.projection_bias, h_partial, cols);
}

template void head_tail_forward(float*, float*, float*, float*, const float*, const float*, const float*, float,
                                const DropoutMask&, std::int64_t, std::int64_t);
template void head_tail_forward(bf16*, bf16*, float*, float*, const bf16*, const float*, const float*, float,
                                const DropoutMask&, std::int64_t, std::int64_t);
template void head_tail_backward(float*, float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, const DropoutMask&, std::int64_t, std::int64_t);
template void head_tail_backward(bf16*, bf16*, float*, const bf16*, const bf16*, const float*, const float*,
                                 const float*, const DropoutMask&, std::int64_t, std::int64_t);
template void head_gelu_backward(float*, float*, const float*, const float*, std::int64_t, std::int64_t);
template void head_gelu_backward(bf16*, float*, const bf16*, const bf16*, std::int64_t, std::int64_t);
template void head_totals(const HeadTotals<float>&, const float*, const float*, std::int64_t, std::int64_t);
template void head_totals(const HeadTotals<bf16>&, const float*, const float*, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
