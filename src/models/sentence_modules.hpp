#pragma once
// What the folder of a sentence encoder says: modules.json, and the folders that it names.
#include <filesystem>

#include "clip/models/text_encoder.hpp"

namespace clip {

struct SentenceModules {
  std::filesystem::path transformer;  ///< the folder of the tokenizer and the model
  Pooling pooling = Pooling::cls;
  bool normalize = false;
};

/// A folder without `modules.json` is the transformer's own. Throws, naming the file, on modules other than a
/// transformer, its pooling by first token or mean, and normalisation, in this order.
SentenceModules read_sentence_modules(const std::filesystem::path& folder);

}  // namespace clip
