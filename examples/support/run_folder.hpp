#pragma once
// What a training run leaves for searching and evaluating: RUN/index/embeddings.safetensors, an `Index` of all its
// pictures, and RUN/index/pictures.json, what is known of each: [{"path", "split", "captions"}, …] in the index's
// order.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "clip/data/flickr8k.hpp"
#include "clip/data/split.hpp"
#include "clip/retrieval/index.hpp"

namespace clip {

struct RunPicture {
  std::filesystem::path path;
  Split split = Split::train;
  std::vector<std::string> captions;
};

/// All pictures of a data set, in its order.
std::vector<RunPicture> run_pictures(const Captions& data);

struct RunIndex {
  Index images;
  std::vector<RunPicture> pictures;  ///< picture i is row i of `images`

  /// Throws when there is none in the folder of the run, or when it is damaged.
  static RunIndex load(const std::filesystem::path& run);
  /// Those of one split.
  RunIndex only(Split split) const;
};

/// Writes RUN/index, durably. Throws unless there is a picture for each row.
void save_run_index(const std::filesystem::path& run, const Index& images, std::span<const RunPicture> pictures);

/// `train`, `val` or `test`; throws on another.
Split split_of(const std::string& name);

}  // namespace clip
