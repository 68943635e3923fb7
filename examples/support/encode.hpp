#pragma once
// A data set as it is trained on: features by frozen encoders, through the cache, and decoded pictures.
#include <filesystem>
#include <string>
#include <vector>

#include "clip/data/flickr8k.hpp"
#include "examples/support/pair_encoder.hpp"
#include "examples/support/program.hpp"

namespace clip {

struct EncodeOptions {
  std::filesystem::path text_model, image_model, cache;
  bool clip = false;                   ///< both folders are that of one CLIP
  bool texts = true, pictures = true;  ///< whether their encoder is frozen, otherwise it runs on each batch
  bool augment = false;                ///< vary pictures in training, by `seed`
  std::uint64_t seed = 0;
  bool skip_bad = false;  ///< leave out pictures that cannot be read, and say so
};

/// The captions and pictures of `data`, from which pictures that cannot be read are taken out. Throws on such a picture
/// without `skip_bad`, and when interrupted: what was encoded stays in the cache.
Pairs encode(const Program& program, Captions& data, const EncodeOptions& options);

}  // namespace clip
