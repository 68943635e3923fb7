#include <string>

#include "clip/core/error.hpp"
#include "clip/models/clip.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

/// The settings of one tower: `key`, over which older files lay `key`_dict.
JsonFile tower_settings(const JsonFile& file, const std::string& key) {
  Json settings = Json::object();
  for (const std::string& name : {key, std::string(key).append("_dict")}) {
    if (!file.has(name)) continue;
    if (!file.json()[name].is_object()) file.wrong(name, "an object");
    settings.update(file.json()[name]);
  }
  return JsonFile(file.path(), std::move(settings), key + '.');
}

Activation read_activation(const JsonFile& json) {
  const std::string name = json.text("hidden_act", "quick_gelu");
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  json.wrong("hidden_act", "quick_gelu, gelu, gelu_new or gelu_pytorch_tanh");
}

ClipTower read_tower(const JsonFile& json, const ClipTower& standard) {
  ClipTower tower;
  tower.size = json.integer("hidden_size", 1, 65'536, standard.size);
  tower.feed_forward = json.integer("intermediate_size", 1, 1'048'576, standard.feed_forward);
  tower.layers = json.integer("num_hidden_layers", 1, 1'000, standard.layers);
  tower.heads = json.integer("num_attention_heads", 1, tower.size, standard.heads);
  if (tower.size % tower.heads != 0)
    json.wrong("num_attention_heads", "a divisor of the size " + std::to_string(tower.size));
  tower.activation = read_activation(json);
  tower.norm_eps = static_cast<float>(json.number("layer_norm_eps", 1e-5));
  if (!(tower.norm_eps > 0 && tower.norm_eps < 1)) json.wrong("layer_norm_eps", "a number between 0 and 1");
  return tower;
}

ClipResNetConfig read_resnet(const JsonFile& json) {
  ClipResNetConfig config;
  const Json depths = json.json().value("depths", Json());
  config.depths.clear();
  if (!depths.is_array() || depths.size() != 4) json.wrong("depths", "a list of four integers from 1 to 1000");
  for (const Json& depth : depths) {
    if (!depth.is_number_integer() || depth < 1 || depth > 1'000)
      json.wrong("depths", "a list of four integers from 1 to 1000");
    config.depths.push_back(depth.get<std::int64_t>());
  }
  config.width = json.integer("width", 2, 2'048);
  if (config.width % 2 != 0) json.wrong("width", "an even number");
  config.heads = json.integer("num_attention_heads", 1, config.channels());
  if (config.channels() % config.heads != 0)
    json.wrong("num_attention_heads", "a divisor of " + std::to_string(config.channels()));
  config.image_size = json.integer("image_size", 32, 16'384);
  if (config.image_size % 32 != 0) json.wrong("image_size", "a multiple of 32");
  return config;
}

}  // namespace

ClipConfig ClipConfig::read(const std::filesystem::path& folder) {
  const JsonFile json(folder / "config.json");
  if (json.text("model_type") != "clip") json.wrong("model_type", "clip");
  const JsonFile text = tower_settings(json, "text_config"), vision = tower_settings(json, "vision_config");
  ClipConfig config;
  config.text = read_tower(text, config.text);
  config.vocab_size = text.integer("vocab_size", 1, 10'000'000, config.vocab_size);
  config.context = text.integer("max_position_embeddings", 2, 1'000'000, config.context);
  config.end_id = text.integer("eos_token_id", 0, config.vocab_size - 1, config.vocab_size > 49407 ? 49407 : 2);
  config.projection = json.integer("projection_dim", 1, 65'536, config.projection);
  if (vision.text("model_type", "") == "clip_resnet") {
    config.resnet = read_resnet(vision);
    config.image_size = config.resnet->image_size;
    return config;
  }
  config.vision = read_tower(vision, config.vision);
  config.image_size = vision.integer("image_size", 1, 16'384, config.image_size);
  config.patch = vision.integer("patch_size", 1, config.image_size, config.patch);
  config.channels = vision.integer("num_channels", 1, 1'024, config.channels);
  return config;
}

}  // namespace clip
