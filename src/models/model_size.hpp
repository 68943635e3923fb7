#pragma once
#include <cstdint>
#include <filesystem>

#include "clip/core/error.hpp"
#include "clip/io/safetensors.hpp"

namespace clip {

/// Throws when a config asks for a model of far more numbers than its weights hold: before its memory is asked for,
/// which `load` needs to tell what exactly is missing.
inline void check_model_size(std::int64_t parameters, const std::filesystem::path& config, const SafeTensors& weights) {
  constexpr std::int64_t harmless = 1 << 24;
  std::int64_t held = 0;
  for (const TensorInfo& tensor : weights.tensors())
    if (tensor.bytes > 0) held += tensor.shape.numel();
  check(parameters / 4 <= held + harmless, "load", quoted(config), " describes a model of ", parameters,
        " numbers, but ", quoted(weights.path()), " holds ", held, ": one of them belongs to another model");
}

}  // namespace clip
