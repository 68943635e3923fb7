#pragma once
// A data set's features by frozen encoders, through the cache.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "clip/data/batches.hpp"
#include "clip/data/feature_cache.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/models/image_encoder.hpp"
#include "clip/models/text_encoder.hpp"
#include "examples/support/program.hpp"

namespace clip {

struct EncodeOptions {
  std::filesystem::path text_model, image_model, cache;
  bool skip_bad = false;       ///< leave out pictures that cannot be read, and say so
  std::function<bool()> stop;  ///< asked between batches; what was encoded stays in the cache
};

/// The features of all captions and pictures of `data`, from which pictures that cannot be read are taken out. Throws
/// on such a picture without `skip_bad`, and when stopped.
Features encode(const Program& program, Captions& data, const EncodeOptions& options);

}  // namespace clip
