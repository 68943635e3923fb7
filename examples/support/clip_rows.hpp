#pragma once
// Pictures and texts as programs embed them with CLIP.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "examples/support/pair_encoder.hpp"
#include "examples/support/program.hpp"

namespace clip {

/// Warns when texts are longer than the context, and how many: they are cut.
void warn_of_cut(const Program& program, const ClipTokenizer& tokenizer, std::span<const std::string> texts);

/// f32 [N, size], rows of length 1, by a CLIP. Long texts are cut, with a warning.
Tensor embed_texts(const Program& program, PairEncoder& encoder, std::span<const std::string> texts);

struct PictureRows {
  std::vector<std::filesystem::path> files;
  Tensor rows;  ///< f32 [files.size(), size], of length 1
};
/// Throws on a picture that cannot be read, or, with `skip_bad`, reports it and leaves it out, and throws when none is
/// left. With a `cache` folder, only pictures that are not in it are embedded; `model` is then the encoder's folder.
PictureRows embed_pictures(const Program& program, PairEncoder& encoder,
                           const std::vector<std::filesystem::path>& files, bool skip_bad,
                           const std::filesystem::path& cache = {}, const std::filesystem::path& model = {});

}  // namespace clip
