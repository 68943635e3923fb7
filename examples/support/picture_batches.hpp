#pragma once
// Pictures as a model takes them, read batch by batch while it works.
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "clip/image/preprocess.hpp"
#include "examples/support/program.hpp"

namespace clip {

/// Some pictures of a list, as a model takes them.
struct PictureBatch {
  std::vector<std::size_t> items;  ///< their places in the list
  Tensor pixels;                   ///< f32 [items.size(), H, W, 3]
};

/// Hands all pictures to `use`, `batch` at a time and in order; the next ones are read meanwhile. Throws for the first
/// that cannot be read, or, with `skip_bad`, warns of it and leaves it out. Throws when interrupted.
void for_picture_batches(const Program& program, const Preprocessor& preprocess,
                         std::span<const std::filesystem::path> files, std::size_t batch, bool skip_bad,
                         Progress& progress, const std::function<void(const PictureBatch&)>& use);

/// f32 [files.size(), size]: what `encode` makes of the pictures, in such batches. A picture left out has a row of NaN.
Tensor picture_rows(const Program& program, const Preprocessor& preprocess,
                    std::span<const std::filesystem::path> files, std::int64_t size, bool skip_bad, Progress& progress,
                    const std::function<Tensor(const Tensor& pixels)>& encode);

}  // namespace clip
