#pragma once
#include <span>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// The tensors one after another along `dim`. Throws unless there is at least one, and they agree in dtype, device and
/// all other extents.
Tensor concat(std::span<const Tensor> tensors, int dim = 0);
inline Tensor concat(const std::vector<Tensor>& tensors, int dim = 0) { return concat(std::span(tensors), dim); }

}  // namespace clip
