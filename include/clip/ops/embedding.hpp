#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// The rows of `table` [V, D] that `ids` (i32 or i64, of any shape) name: [ids' shape…, D]. The gradient of a row is
/// the sum over its occurrences, accumulated in f32. Throws unless the table is f32 or bf16 of rank 2 and every id lies
/// within [0, V).
Tensor embedding(const Tensor& table, const Tensor& ids);

}  // namespace clip
