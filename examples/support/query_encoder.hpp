#pragma once
// The model of a run, as what searches with it sees it.
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "clip/core/tensor.hpp"

namespace clip {

/// Queries to embeddings f32 [N, D], one for each.
struct QueryEncoder {
  std::function<Tensor(std::span<const std::string>)> texts;
  std::function<Tensor(std::span<const std::filesystem::path>)> images;
};

/// Of the model folder that training wrote. Throws as loading it does.
QueryEncoder load_query_encoder(const std::filesystem::path& model, const Device& device, dtype type);

}  // namespace clip
