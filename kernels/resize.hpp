#pragma once
#include <cstdint>

namespace clip::kernels {

/// How one axis is resampled, in fixed point: output i is the sum over t < taps of weights[i * taps + t] times input
/// first[i] + t, all of which exist. The magnitudes of an output's weights sum to less than 2^23.
struct ResizeAxis {
  const std::int32_t* first;
  const std::int32_t* weights;
  std::int64_t outputs, taps;
};

namespace cpu {

/// Bytes from one row to the next in y of `resize_columns`: more than its pixels take, so that rows end in padding.
constexpr std::int64_t resized_row_bytes(std::int64_t outputs, std::int64_t channels) {
  return (outputs * channels + 16) / 16 * 16;
}

/// y[r][i][c] = the axis applied to the columns of x, rounded to nearest and clipped to 0..255, for 3 or 4 channels.
/// Rows of x are `width` pixels, `x_stride` bytes apart, rows of y `resized_row_bytes`. `scratch` has 16 bytes a column
/// of x.
void resize_columns(std::uint8_t* y, const std::uint8_t* x, std::int64_t x_stride, std::int64_t rows,
                    std::int64_t width, int channels, const ResizeAxis& axis, std::uint8_t* scratch);

/// y[i][b] = the axis applied to the rows of x, whose starts are `x_stride` bytes apart, for b < `bytes`; rounded and
/// clipped as above. Rows of y are `bytes` apart.
void resize_rows(std::uint8_t* y, const std::uint8_t* x, std::int64_t x_stride, std::int64_t bytes,
                 const ResizeAxis& axis);

/// y[i] = table[channel * 256 + x[i]] for `pixels` pixels of three channels.
void look_up_rgb(float* y, const std::uint8_t* x, const float* table, std::int64_t pixels);

}  // namespace cpu
}  // namespace clip::kernels
