// Integers throughout, so results are exact whatever the instruction set. Sixteen sums at a time: for `resize_rows`
// they are neighbouring bytes of a row. For `resize_columns`, whose taps run along the row, they are one pixel of four
// rows; four rows are first interleaved (a pixel of each, widened to four bytes, side by side), since several outputs
// use each.
//
// Two vectors of eight lanes, not one of sixteen: GCC 12 keeps what is wider than a register on the stack, which made
// this six times slower with AVX2, and AVX-512 gains little from the wider ones.
#include "kernels/resize.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {
namespace {

using u8x16 = std::uint8_t __attribute__((vector_size(16)));
using u8x32 = std::uint8_t __attribute__((vector_size(32)));
using u32x4 = std::uint32_t __attribute__((vector_size(16)));
using i32x8 = std::int32_t __attribute__((vector_size(32)));

constexpr int fraction_bits = 22;
constexpr std::int32_t half = 1 << (fraction_bits - 1);
constexpr std::int64_t block_rows = 4, lanes = 8;

CLIP_INLINE i32x8 widen(const std::uint8_t* p) {
  i32x8 v;
  for (int i = 0; i < lanes; ++i) v[i] = p[i];  // one instruction; GCC 12 takes a conversion apart
  return v;
}
CLIP_INLINE u8x32 to_bytes(i32x8 sum) {
  i32x8 v = sum >> fraction_bits;
  v = v < 0 ? i32x8{} : v;
  v = v > 255 ? i32x8{} + 255 : v;
  return (u8x32)v;  // the lowest byte of four is the result
}

/// y[b] = the sum of weights[t] * x[t * stride + b], rounded and clipped, for b < 16.
CLIP_INLINE void weigh(std::uint8_t* y, const std::uint8_t* x, std::int64_t stride, const std::int32_t* weights,
                       std::int64_t taps) {
  i32x8 low = i32x8{} + half, high = low;
  for (std::int64_t t = 0; t < taps; ++t) {
    low += widen(x + t * stride) * weights[t];
    high += widen(x + t * stride + lanes) * weights[t];
  }
  const u8x16 bytes = __builtin_shufflevector(to_bytes(low), to_bytes(high), 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40,
                                              44, 48, 52, 56, 60);
  std::memcpy(y, &bytes, sizeof bytes);
}

/// block[column][row][4] = x[row][column][channels]; rows past `rows` repeat the last.
template <int channels>
CLIP_INLINE void interleave(std::uint8_t* block, const std::uint8_t* x, std::int64_t stride, std::int64_t rows,
                            std::int64_t width) {
  const std::uint8_t* row[block_rows];
  for (std::int64_t r = 0; r < block_rows; ++r) row[r] = x + std::min(r, rows - 1) * stride;
  for (std::int64_t i = 0; i + 1 < width; ++i) {
    std::uint32_t pixels[block_rows];  // four bytes even of three channels: another pixel follows
    for (std::int64_t r = 0; r < block_rows; ++r) std::memcpy(&pixels[r], row[r] + i * channels, 4);
    const u32x4 all = {pixels[0], pixels[1], pixels[2], pixels[3]};
    std::memcpy(block + i * 16, &all, 16);
  }
  for (std::int64_t r = 0; r < block_rows; ++r)
    std::memcpy(block + (width - 1) * 16 + r * 4, row[r] + (width - 1) * channels, channels);
}

template <int channels>
CLIP_INLINE void resize_block(std::uint8_t* y, std::int64_t y_stride, const std::uint8_t* block, std::int64_t rows,
                              const std::int32_t* first, const std::int32_t* weights, std::int64_t outputs,
                              std::int64_t taps) {
  for (std::int64_t i = 0; i < outputs; ++i) {
    std::uint8_t pixels[16];
    weigh(pixels, block + std::int64_t{first[i]} * 16, 16, weights + i * taps, taps);
    // four bytes even of three channels: the next pixel, or the row's padding, takes the fourth
    for (std::int64_t r = 0; r < rows; ++r) std::memcpy(y + r * y_stride + i * channels, pixels + r * 4, 4);
  }
}

template <int channels>
void resize_columns_of(std::uint8_t* y, const std::uint8_t* x, std::int64_t x_stride, std::int64_t rows,
                       std::int64_t width, const ResizeAxis& axis, std::uint8_t* scratch) {
  const std::int64_t y_stride = resized_row_bytes(axis.outputs, channels);
  vectorized(0, rows, [=](std::int64_t begin, std::int64_t end) {
    // copies: a store of bytes might change what is captured, as far as the compiler knows
    const ResizeAxis a = axis;
    const std::int64_t in_width = width, in_stride = x_stride, out_stride = y_stride;
    std::uint8_t* const block = scratch;
    for (std::int64_t r = begin; r < end; r += block_rows) {
      const std::int64_t count = std::min(block_rows, end - r);
      const std::uint8_t* from = x + r * in_stride;
      std::uint8_t* to = y + r * out_stride;
      interleave<channels>(block, from, in_stride, count, in_width);
      if (count == block_rows)
        resize_block<channels>(to, out_stride, block, block_rows, a.first, a.weights, a.outputs, a.taps);
      else
        resize_block<channels>(to, out_stride, block, count, a.first, a.weights, a.outputs, a.taps);
    }
  });
}

}  // namespace

void resize_columns(std::uint8_t* y, const std::uint8_t* x, std::int64_t x_stride, std::int64_t rows,
                    std::int64_t width, int channels, const ResizeAxis& axis, std::uint8_t* scratch) {
  if (channels == 3)
    resize_columns_of<3>(y, x, x_stride, rows, width, axis, scratch);
  else
    resize_columns_of<4>(y, x, x_stride, rows, width, axis, scratch);
}

void resize_rows(std::uint8_t* y, const std::uint8_t* x, std::int64_t x_stride, std::int64_t bytes,
                 const ResizeAxis& axis) {
  vectorized(0, axis.outputs, [=](std::int64_t begin, std::int64_t end) {
    const ResizeAxis a = axis;
    const std::int64_t stride = x_stride, count = bytes;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::uint8_t* from = x + a.first[i] * stride;
      const std::int32_t* weights = a.weights + i * a.taps;
      std::uint8_t* to = y + i * count;
      std::int64_t b = 0;
      for (; b + 16 <= count; b += 16) weigh(to + b, from + b, stride, weights, a.taps);
      for (; b < count; ++b) {
        std::int32_t sum = half;
        for (std::int64_t t = 0; t < a.taps; ++t) sum += from[t * stride + b] * weights[t];
        to[b] = static_cast<std::uint8_t>(std::clamp(sum >> fraction_bits, 0, 255));
      }
    }
  });
}

void look_up_rgb(float* y, const std::uint8_t* x, const float* table, std::int64_t pixels) {
  for (std::int64_t i = 0; i < pixels; ++i)
    for (std::int64_t c = 0; c < 3; ++c) y[3 * i + c] = table[256 * c + x[3 * i + c]];
}

}  // namespace clip::kernels::cpu
