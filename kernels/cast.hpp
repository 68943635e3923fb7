#pragma once
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// y[i] = x[i] converted: floats round to nearest even, to integers they truncate and saturate, NaN becomes 0; integers
/// wrap when narrowed.
void cast(void* y, dtype to, const void* x, dtype from, std::int64_t n);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// The same.
void cast(void* y, dtype to, const void* x, dtype from, std::int64_t n, Stream stream);

}  // namespace clip::kernels::cuda
