#pragma once
// Copies between dense arrays, whatever their element type: what concat and slices along inner dimensions are made of.
#include <cstdint>

#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// For each of `rows` rows copies `bytes` bytes; rows start `y_stride` and `x_stride` bytes apart.
void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// The same.
void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows, Stream stream);

}  // namespace clip::kernels::cuda
