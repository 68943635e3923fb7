#pragma once
// A dimension in reverse, whatever the element type.
#include <cstdint>

#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// y is x [outer, extent, bytes] with the middle dimension in reverse. They may not overlap.
void flip(void* y, const void* x, std::int64_t outer, std::int64_t extent, std::int64_t bytes);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// The same.
void flip(void* y, const void* x, std::int64_t outer, std::int64_t extent, std::int64_t bytes, Stream stream);

}  // namespace clip::kernels::cuda
