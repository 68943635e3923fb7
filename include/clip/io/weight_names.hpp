#pragma once
// The names that weights have in files, and the ones they have here.
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clip/io/safetensors.hpp"

namespace clip {

/// Whether a model folder's file holds weights, or lists files that do, by its name: those of safetensors, PyTorch,
/// TensorFlow and Flax.
bool is_weights_file(const std::filesystem::path& file);

enum class Architecture { resnet, distilbert, bert, clip };
constexpr std::string_view name_of(Architecture architecture) {
  constexpr std::string_view names[] = {"resnet", "distilbert", "bert", "clip"};
  return names[static_cast<int>(architecture)];
}

/// What becomes of each tensor of a file. The names of this library are torchvision's for a ResNet (`conv1.weight`,
/// `layer1.0.downsample.0.weight`, `fc.bias`), and Hugging Face's without prefix for DistilBERT
/// (`transformer.layer.0.attention.q_lin.weight`), BERT (`encoder.layer.0.attention.self.query.weight`) and CLIP
/// (`text_model.encoder.layers.0.self_attn.q_proj.weight`).
struct WeightNames {
  struct Mapped {
    std::string name, source;  // ours, the file's
  };
  struct LeftOut {
    std::string source, reason;
  };
  Architecture architecture = {};
  std::vector<Mapped> mapped;
  std::vector<LeftOut> left_out;

  /// The file's name of what is `name` here; null when there is none.
  const std::string* source_of(std::string_view name) const;
};

/// Recognises the architecture of `tensors` and maps their names: of torchvision's, timm's and Hugging Face's ResNets,
/// of DistilBERT and BERT, and of Hugging Face's CLIP, with any prefix, with or without heads, and with LayerNorm's old
/// `gamma` and `beta`. A prefix is what stands before the model's own names; tensors without it, heads and counters are
/// left out. With `wanted`, only that architecture is looked for. Throws, naming `file`, when there is none or more
/// than one, on tensors that such a model does not have, and when two would get one name.
WeightNames weight_names(std::span<const TensorInfo> tensors, const std::filesystem::path& file,
                         std::optional<Architecture> wanted = std::nullopt);

}  // namespace clip
