#pragma once
// The model of a run, as what searches with it sees it.
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/image/preprocess.hpp"
#include "examples/support/program.hpp"

namespace clip {

/// Queries to embeddings f32 [N, D], one for each.
struct QueryEncoder {
  std::function<Tensor(std::span<const std::string>)> texts;
  Preprocessor preprocess;
  std::function<Tensor(const Tensor&)> images;  ///< as `preprocess` makes them
};

/// The folder of a run's model; `run` itself where that is a model, as models/clipart is.
std::filesystem::path model_of(const std::filesystem::path& run);

/// Of such a folder. Throws as loading it does.
QueryEncoder load_query_encoder(const std::filesystem::path& model, const Device& device, dtype type);

/// f32 [files.size(), D]. Throws on a picture that cannot be read, or, with `skip_bad`, reports it and takes it out of
/// `files`, and throws when none is left.
Tensor embed_pictures(const Program& program, const QueryEncoder& encoder, std::vector<std::filesystem::path>& files,
                      bool skip_bad = false);

}  // namespace clip
