#pragma once
// CLIP as OpenAI's archives and open_clip's checkpoints hold it.
#include <optional>
#include <string>
#include <vector>

#include "clip/io/safetensors.hpp"
#include "src/io/json.hpp"
#include "tools/weights_convert/weights_file.hpp"

namespace clip {

/// What becomes of one of the file's tensors.
struct ClipPart {
  enum How { as_it_is, transposed, query, key, value };  // the last three: a third of its rows
  std::string name, source;
  How how = as_it_is;
};

/// A CLIP's tensors under Hugging Face's names, and its settings.
struct ForeignClip {
  std::vector<ClipPart> parts;
  std::vector<std::string> left_out;
  Json config, preprocessor_config, tokenizer_config;
};

/// Recognises the names of OpenAI and open_clip, with any prefix; none where the file holds another model. Sizes are
/// read off the shapes. The activation and the widths of heads are OpenAI's where the file is theirs, else they stand
/// in open_clip_config.json beside the input, whose settings must agree with the shapes. `notes` says what was found.
/// Throws on what such a model does not have, and where the activation cannot be told.
std::optional<ForeignClip> find_foreign_clip(const WeightsFile& file, std::vector<std::string>& notes);

/// The tensor of a part.
Tensor read_part(const WeightsFile& file, const ClipPart& part);

/// vocab.json and merges.txt of OpenAI's bpe_simple_vocab_16e6.txt, unpacked.
struct ClipVocabulary {
  std::string vocab, merges;
};
ClipVocabulary read_simple_vocabulary(const std::filesystem::path& file);

}  // namespace clip
