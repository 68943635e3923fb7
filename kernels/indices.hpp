#pragma once
// Indices into a dimension, i32 or i64, as embedding, gather and cross_entropy take them, and offsets of packed
// sequences, as attention does. I = std::int32_t or std::int64_t.
#include <cstdint>

#include "clip/core/index_fault.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

namespace cpu {

/// The position of the first index outside [0, limit); `count` where all are within.
template <class I>
std::int64_t first_outside(const I* indices, std::int64_t count, std::int64_t limit);

}  // namespace cpu

namespace cuda {

/// checked = indices, but 0 where they lie outside [0, limit), which is noted in `faults`.
template <class I>
void check_indices(I* checked, const I* indices, std::int64_t count, std::int64_t limit, const IndexCheck& check,
                   IndexFaults* faults, Stream stream);

/// checked = offsets, but moved into [0, rows] where they lie outside. What is not 0 at first and `rows` at last,
/// falls, or rises by more than `longest`, is noted in `faults`.
void check_offsets(std::int32_t* checked, const std::int32_t* offsets, std::int64_t count, std::int64_t rows,
                   std::int64_t longest, const IndexCheck& check, IndexFaults* faults, Stream stream);

}  // namespace cuda
}  // namespace clip::kernels
