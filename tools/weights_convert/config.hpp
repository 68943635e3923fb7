#pragma once
// What a model folder says of its weights, where nothing beside the input says it.
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clip/io/weight_names.hpp"
#include "src/io/json.hpp"

namespace clip {

/// Shapes by the library's names.
using Shapes = std::map<std::string, Shape, std::less<>>;

/// A `config.json` with Hugging Face's keys, read off the shapes. Of a ResNet: `embedding_size`, `hidden_sizes`,
/// `depths`, `layer_type`, and `reduction`, by which a bottleneck divides its stage's channels. What shapes cannot tell
/// is assumed, and `notes` says so. Throws on shapes that no such model has.
Json infer_config(Architecture architecture, const Shapes& shapes, std::vector<std::string>& notes);

/// How the weights of a ResNet were trained to see pictures: torchvision's two recipes, and timm's a1.
enum class Preprocess { torchvision_v1, torchvision_v2, timm_a1 };

/// The recipe of a published file, by the hash in its name; none for other names.
std::optional<Preprocess> known_preprocess(std::string_view file_name);

/// A `preprocessor_config.json` that says which weights these are.
Json preprocessor_config(Preprocess preprocess);

}  // namespace clip
