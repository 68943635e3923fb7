#pragma once
#include <cstdint>

namespace clip {

/// The activations that ops can fuse; `ops/activation.hpp` has them as ops.
enum class Activation : std::uint8_t { none, relu, sigmoid, tanh, gelu, gelu_tanh, quick_gelu };

}  // namespace clip
