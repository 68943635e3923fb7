#pragma once
// Folders of small models, filled from the hash, as programs and encoders load them.
#include <filesystem>
#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/resnet.hpp"
#include "src/io/json.hpp"
#include "src/text/utf8.hpp"
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

/// A CLIP with a space of 16 for pictures of 32 x 32, whose tokenizer has the merges of "the" and "cat", by default
/// transformers'.
inline void write_small_clip(const std::filesystem::path& folder, const std::string& pipeline = "huggingface") {
  std::filesystem::create_directories(folder);
  Json vocabulary = Json::object();
  const auto add = [&](const std::string& token) {
    const std::size_t id = vocabulary.size();
    vocabulary[token] = id;
  };
  std::vector<std::string> bytes;
  for (char32_t byte = 0, next = 256; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    char text[4];
    bytes.emplace_back(text, put_code_point(visible ? byte : next++, text));
  }
  for (const std::string& byte : bytes) add(byte);
  for (const std::string& byte : bytes) add(std::string(byte).append("</w>"));
  for (const char* token : {"th", "the</w>", "ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"}) add(token);
  write_file(folder / "vocab.json", vocabulary.dump());
  write_file(folder / "merges.txt", "#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\n");
  write_file(folder / "tokenizer_config.json", Json{{"pipeline", pipeline}, {"model_max_length", 20}}.dump());
  write_file(folder / "preprocessor_config.json",
             R"({"image_processor_type": "CLIPImageProcessor", "pipeline": "openai", "size": {"shortest_edge": 32},
                 "crop_size": {"height": 32, "width": 32}})");
  write_file(folder / "config.json", R"({"model_type": "clip", "projection_dim": 16,
    "text_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "vocab_size": 518, "max_position_embeddings": 20, "eos_token_id": 517},
    "vision_config": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 2,
                      "image_size": 32, "patch_size": 8}})");
  Clip model({.text = {.size = 32, .feed_forward = 48, .layers = 1, .heads = 2},
              .vision = {.size = 24, .feed_forward = 40, .layers = 1, .heads = 2},
              .vocab_size = 518,
              .context = 20,
              .end_id = 517,
              .image_size = 32,
              .patch = 8,
              .projection = 16},
             Init::none());
  hash_fill(model);
  model.logit_scale = Tensor::of(2);
  save(model, folder / "model.safetensors");
}

}  // namespace clip::test
