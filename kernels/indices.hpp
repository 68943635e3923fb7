#pragma once
// Indices into a dimension, i32 or i64, as embedding, gather and cross_entropy take them.
#include <cstdint>

namespace clip::kernels::cpu {

/// The position of the first index outside [0, limit); `count` where all are within. I = std::int32_t or std::int64_t.
template <class I>
std::int64_t first_outside(const I* indices, std::int64_t count, std::int64_t limit);

}  // namespace clip::kernels::cpu
