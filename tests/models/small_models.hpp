#pragma once
// Folders of small models, filled from the hash, as programs and encoders load them.
#include <filesystem>
#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/resnet.hpp"
#include "tests/models/hash_weights.hpp"

namespace clip::test {

/// A BERT of size 32 whose vocabulary is the special tokens and `words`.
inline void write_small_bert(const std::filesystem::path& folder, const std::vector<std::string>& words) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (const std::string& word : words) vocabulary.append(word).append("\n");
  const std::int64_t size = 5 + std::ssize(words);
  std::filesystem::create_directories(folder);
  write_file(folder / "vocab.txt", vocabulary);
  write_file(folder / "config.json",
             R"({"model_type": "bert", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                 "num_attention_heads": 2, "max_position_embeddings": 40, "vocab_size": )" +
                 std::to_string(size) + "}");
  Bert model({.vocab_size = size, .max_positions = 40, .size = 32, .feed_forward = 48, .layers = 1, .heads = 2},
             Init::none());
  hash_fill(model);
  save(model, folder / "model.safetensors");
}

/// A ResNet that gives 16 features for pictures resized to 32 x 32.
inline void write_small_resnet(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  write_file(folder / "config.json", R"({"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16],
      "embedding_size": 8, "layer_type": "basic"})");
  write_file(folder / "preprocessor_config.json",
             R"({"image_processor_type": "ViTImageProcessor", "do_resize": true, "size": {"height": 32, "width": 32},
                 "resample": 2, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
                 "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})");
  ResNet model({.bottleneck = false, .depths = {1, 1}, .widths = {8, 16}, .stem = 8}, Init::none());
  hash_fill(model);
  save(model, folder / "model.safetensors");
}

}  // namespace clip::test
