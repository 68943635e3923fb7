#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "clip/image/preprocess.hpp"

namespace clip {

/// Pictures as a model's input, again and again: decoded once, and kept in memory in the model's size, eight bits a
/// sample, as long as there is room.
class DecodedPictures {
 public:
  explicit DecodedPictures(const Preprocessor& preprocess, std::int64_t memory = std::int64_t{1} << 30);

  /// Reads more pictures, with all threads. Those that cannot be read are reported, by their place among `files`, and
  /// left out.
  void add(std::span<const std::filesystem::path> files, const Preprocessor::BadImage& bad);

  /// f32 [N, H, W, 3], equal to what the `Preprocessor` makes of the files. Throws when one that there was no room for
  /// cannot be read any more.
  Tensor operator()(std::span<const std::int32_t> pictures) const;

 private:
  struct Picture {
    std::filesystem::path file;
    Image fitted;  // empty where there was no room
  };
  Preprocessor preprocess_, fitted_;  // of files; of pictures that have the model's size already
  std::int64_t room_;                 // bytes
  std::vector<Picture> pictures_;
};

}  // namespace clip
