#include "tools/weights_convert/clip.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "clip/ops/permute.hpp"
#include "clip/ops/view.hpp"
#include "src/io/folder.hpp"
#include "src/text/utf8.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr const char* where = "weights_convert";
constexpr const char* config_name = "open_clip_config.json";

/// A file's tensors by their names without prefix.
using Shapes = std::map<std::string, Shape, std::less<>>;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (const std::size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

/// What becomes of a tensor; nothing where it is none of a CLIP's.
std::vector<ClipPart> parts_of(const std::string& name, bool resnet) {
  using How = ClipPart::How;
  if (name == "logit_scale") return {{name, name}};
  std::string inner = name;
  const bool visual = inner.starts_with("visual.");
  if (visual) inner.erase(0, 7);
  if (!visual && inner.starts_with("text.")) inner.erase(0, 5);  // open_clip's models with a text tower of its own
  const std::string tower = visual ? "vision_model." : "text_model.";
  if (visual && resnet) return {{tower + inner, name}};
  constexpr std::string_view layers = "transformer.resblocks.";
  if (inner.starts_with(layers)) {
    const std::string layer = tower + "encoder.layers." + inner.substr(layers.size());
    for (const char* kind : {"weight", "bias"}) {
      const std::string joined = std::string("attn.in_proj_").append(kind);
      if (!layer.ends_with(joined)) continue;
      const std::string base = layer.substr(0, layer.size() - joined.size()) + "self_attn.";
      return {{base + "q_proj." + kind, name, How::query},
              {base + "k_proj." + kind, name, How::key},
              {base + "v_proj." + kind, name, How::value}};
    }
    constexpr std::array<std::array<std::string_view, 2>, 5> renamed = {{{".attn.out_proj.", ".self_attn.out_proj."},
                                                                         {".ln_1.", ".layer_norm1."},
                                                                         {".ln_2.", ".layer_norm2."},
                                                                         {".mlp.c_fc.", ".mlp.fc1."},
                                                                         {".mlp.c_proj.", ".mlp.fc2."}}};
    for (const auto& [from, to] : renamed)
      if (layer.find(from) != std::string::npos) return {{replaced(layer, from, to), name}};
    return {};
  }
  struct Single {
    std::string_view from, to;
    bool visual;
    How how = How::as_it_is;
  };
  static constexpr Single singles[] = {
      {"class_embedding", "vision_model.embeddings.class_embedding", true},
      {"conv1.weight", "vision_model.embeddings.patch_embedding.weight", true},
      {"positional_embedding", "vision_model.embeddings.position_embedding.weight", true},
      {"ln_pre.weight", "vision_model.pre_layrnorm.weight", true},
      {"ln_pre.bias", "vision_model.pre_layrnorm.bias", true},
      {"ln_post.weight", "vision_model.post_layernorm.weight", true},
      {"ln_post.bias", "vision_model.post_layernorm.bias", true},
      {"proj", "visual_projection.weight", true, How::transposed},
      {"token_embedding.weight", "text_model.embeddings.token_embedding.weight", false},
      {"positional_embedding", "text_model.embeddings.position_embedding.weight", false},
      {"ln_final.weight", "text_model.final_layer_norm.weight", false},
      {"ln_final.bias", "text_model.final_layer_norm.bias", false},
      {"text_projection", "text_projection.weight", false, How::transposed},
      {"text_projection.weight", "text_projection.weight", false}};
  for (const Single& single : singles)
    if (single.visual == visual && inner == single.from) return {{std::string(single.to), name, single.how}};
  return {};
}

bool is_constant(std::string_view name) {
  constexpr std::string_view names[] = {"input_resolution", "context_length", "vocab_size",
                                        "attn_mask",        "text.attn_mask", "logit_bias"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names) ||
         name.ends_with(".num_batches_tracked");
}

const Shape& shape_of(const Shapes& shapes, const std::string& name, int rank) {
  const auto found = shapes.find(name);
  check(found != shapes.end(), where, "the tensor '", name, "' is missing");
  check(found->second.rank() == rank && found->second.numel() > 0, where, "expected ", rank, " dimensions of '", name,
        "', got ", found->second);
  return found->second;
}
std::int64_t count(const Shapes& shapes, const std::string& prefix, const std::string& suffix) {
  std::int64_t n = 0;
  while (shapes.contains(prefix + std::to_string(n) + suffix)) ++n;
  return n;
}
std::int64_t side_of(std::int64_t cells, const std::string& name) {
  std::int64_t side = 1;
  while (side * side < cells) ++side;
  check(side * side == cells, where, "expected '", name, "' to be of a square of patches and one more, got ", cells,
        " and one more");
  return side;
}

/// open_clip_config.json's settings of the model.
struct OpenClip {
  explicit OpenClip(const fs::path& path) : file(path), model(part(file, "model_cfg")) {
    text.emplace(part(*model, "text_cfg"));
    vision.emplace(part(*model, "vision_cfg"));
    for (const auto& [settings, known] :
         {std::pair{&*text, std::set<std::string>{"context_length", "vocab_size", "width", "heads", "layers",
                                                  "mlp_ratio", "pad_id", "eos_id"}},
          std::pair{&*vision, std::set<std::string>{"image_size", "layers", "width", "head_width", "patch_size",
                                                    "mlp_ratio", "patch_dropout"}},
          std::pair{&*model,
                    std::set<std::string>{"embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "custom_text"}}})
      for (const auto& [key, value] : settings->json().items()) {
        const bool off = value.is_null() || value == false || value == 0 || value == "" || value == "tok" ||
                         value == "argmax" || value == "learnable" || value == "linear" ||
                         (key.starts_with("timm_") || key.starts_with("hf_") || key.starts_with("attn_pooler"));
        const bool other_model =
            (key == "timm_model_name" || key == "hf_model_name" || key == "hf_tokenizer_name") && !value.is_null();
        if (other_model || (!known.contains(key) && !off))
          settings->wrong(key, "nothing: this variant of CLIP is not supported,");
      }
  }
  static JsonFile part(const JsonFile& file, const std::string& key) {
    if (!file.has(key) || !file.json()[key].is_object()) file.wrong(key, "an object");
    return {file.path(), file.json()[key], key + '.'};
  }
  JsonFile file;
  std::optional<JsonFile> model, text, vision;
};

/// Throws unless what a config says, where it does, is what the shapes say.
void expect(const JsonFile& json, const std::string& key, std::int64_t value) {
  if (json.has(key) && json.json()[key] != value)
    json.wrong(key, std::to_string(value) + ", as the shapes of the tensors say,");
}

/// The settings of a transformer, read off its shapes.
Json tower_config(const Shapes& shapes, const std::string& prefix, std::int64_t width) {
  const std::string layers = prefix + "transformer.resblocks.";
  return {{"hidden_size", width},
          {"intermediate_size", shape_of(shapes, layers + "0.mlp.c_fc.weight", 2)[0]},
          {"num_hidden_layers", count(shapes, layers, ".ln_1.weight")},
          {"layer_norm_eps", 1e-5}};
}

/// Settings that shapes tell, and the activation.
void make_config(ForeignClip& clip, const Shapes& shapes, const std::optional<OpenClip>& settings, bool resnet,
                 const std::string& activation, std::vector<std::string>& notes) {
  const std::string text_prefix = shapes.contains("text.token_embedding.weight") ? "text." : "";
  const Shape& tokens = shape_of(shapes, text_prefix + "token_embedding.weight", 2);
  Json text = tower_config(shapes, text_prefix, tokens[1]);
  const std::int64_t context = shape_of(shapes, text_prefix + "positional_embedding", 2)[0];
  const std::int64_t text_heads =
      settings ? settings->text->integer("heads", 1, tokens[1], 8) : std::max<std::int64_t>(tokens[1] / 64, 1);
  text.update({{"model_type", "clip_text_model"},
               {"vocab_size", tokens[0]},
               {"max_position_embeddings", context},
               {"num_attention_heads", text_heads},
               {"hidden_act", activation},
               {"bos_token_id", tokens[0] - 2},
               {"eos_token_id", tokens[0] - 1}});
  const std::string projection = text_prefix + "text_projection";
  const std::int64_t size =
      shapes.contains(projection) ? shape_of(shapes, projection, 2)[1] : shape_of(shapes, projection + ".weight", 2)[0];
  Json vision;
  std::int64_t image_size = 0, vision_heads = 0, width = 0;
  if (resnet) {
    width = shape_of(shapes, "visual.layer1.0.conv1.weight", 4)[0];
    image_size = 32 * side_of(shape_of(shapes, "visual.attnpool.positional_embedding", 2)[0] - 1,
                              "visual.attnpool.positional_embedding");
    vision_heads = settings ? width * 32 / settings->vision->integer("head_width", 1, 65'536, 64) : width / 2;
    std::vector<std::int64_t> depths;
    for (int stage = 1; stage <= 4; ++stage)
      depths.push_back(count(shapes, "visual.layer" + std::to_string(stage) + '.', ".conv1.weight"));
    vision = {{"model_type", "clip_resnet"}, {"depths", depths}, {"width", width}};
    notes.push_back("a text transformer and OpenAI's ResNet, for pictures of " + std::to_string(image_size));
  } else {
    const Shape& patches = shape_of(shapes, "visual.conv1.weight", 4);
    width = patches[0];
    image_size =
        patches[3] * side_of(shape_of(shapes, "visual.positional_embedding", 2)[0] - 1, "visual.positional_embedding");
    vision = tower_config(shapes, "visual.", width);
    vision_heads = width / (settings ? settings->vision->integer("head_width", 1, width, 64) : 64);
    vision.update({{"model_type", "clip_vision_model"},
                   {"patch_size", patches[3]},
                   {"num_channels", patches[1]},
                   {"hidden_act", activation}});
    notes.push_back("a text and a vision transformer of " + vision["num_hidden_layers"].dump() + " layers of " +
                    std::to_string(width) + ", patches of " + std::to_string(patches[3]) + ", for pictures of " +
                    std::to_string(image_size));
  }
  vision.update({{"num_attention_heads", std::max<std::int64_t>(vision_heads, 1)}, {"image_size", image_size}});
  if (settings) {
    expect(*settings->model, "embed_dim", size);
    expect(*settings->text, "vocab_size", tokens[0]);
    expect(*settings->text, "context_length", context);
    expect(*settings->text, "width", tokens[1]);
    expect(*settings->text, "layers", text["num_hidden_layers"]);
    expect(*settings->vision, "image_size", image_size);
    expect(*settings->vision, "width", width);
    if (!resnet) {
      expect(*settings->vision, "layers", vision["num_hidden_layers"]);
      expect(*settings->vision, "patch_size", vision["patch_size"]);
    }
  }
  clip.config = {{"model_type", "clip"},
                 {"architectures", {"CLIPModel"}},
                 {"projection_dim", size},
                 {"text_config", text},
                 {"vision_config", vision}};
  clip.tokenizer_config = {{"pipeline", "openai"}, {"model_max_length", context}, {"tokenizer_class", "CLIPTokenizer"}};
  clip.preprocessor_config = {{"image_processor_type", "CLIPImageProcessor"},
                              {"pipeline", "openai"},  // how it rounds and when it converts to RGB
                              {"do_resize", true},
                              {"size", {{"shortest_edge", image_size}}},
                              {"resample", 3},
                              {"do_center_crop", true},
                              {"crop_size", {{"height", image_size}, {"width", image_size}}},
                              {"do_rescale", true},
                              {"rescale_factor", 1. / 255},
                              {"do_normalize", true},
                              {"image_mean", {.48145466, .4578275, .40821073}},
                              {"image_std", {.26862954, .26130258, .27577711}}};
  if (!settings || !settings->file.has("preprocess_cfg")) return;
  const JsonFile pictures = OpenClip::part(settings->file, "preprocess_cfg");
  if (pictures.has("mean")) clip.preprocessor_config["image_mean"] = pictures.json()["mean"];
  if (pictures.has("std")) clip.preprocessor_config["image_std"] = pictures.json()["std"];
  if (pictures.text("interpolation", "bicubic") != "bicubic") pictures.wrong("interpolation", "bicubic");
  if (pictures.text("resize_mode", "shortest") != "shortest") pictures.wrong("resize_mode", "shortest");
}

}  // namespace

std::optional<ForeignClip> find_foreign_clip(const WeightsFile& file, std::vector<std::string>& notes) {
  constexpr std::string_view anchor = "visual.conv1.weight", scale = "logit_scale";
  const auto& tensors = file.tensors();
  std::set<std::string_view> names;
  for (const TensorInfo& tensor : tensors) names.insert(tensor.name);
  std::optional<std::string> prefix;
  for (const std::string_view name : names)
    if (name.ends_with(anchor)) {
      const std::string before(name.substr(0, name.size() - anchor.size()));
      if ((before.empty() || before.ends_with('.')) && names.contains(before + std::string(scale))) prefix = before;
    }
  if (!prefix) return std::nullopt;

  ForeignClip clip;
  Shapes shapes;
  std::vector<std::string> unexpected;
  std::set<std::string> taken;
  const bool resnet = names.contains(*prefix + "visual.layer1.0.conv1.weight");
  for (const TensorInfo& tensor : tensors) {
    const std::string inner = tensor.name.starts_with(*prefix) ? tensor.name.substr(prefix->size()) : std::string();
    if (inner.empty() || is_constant(inner)) {
      clip.left_out.push_back(tensor.name);
      continue;
    }
    shapes[inner] = tensor.shape;
    std::vector<ClipPart> parts = parts_of(inner, resnet);
    if (parts.empty()) unexpected.push_back(tensor.name);
    for (ClipPart& part : parts) {
      check(taken.insert(part.name).second, where, "two tensors of ", quoted(file.path()), " would be '", part.name,
            "', the second is '", printable(tensor.name), "'");
      part.source = tensor.name;
      clip.parts.push_back(std::move(part));
    }
  }
  if (!unexpected.empty())
    fail(where, quoted(file.path()), " has ", unexpected.size(), " tensors that CLIP does not have, the first '",
         printable(unexpected[0]), "': this variant is not supported");

  const fs::path beside = file.path().parent_path() / config_name;
  std::optional<OpenClip> settings;
  std::string activation;
  if (is_there(beside)) {
    settings.emplace(beside);
    activation = settings->model->boolean("quick_gelu", false) ? "quick_gelu" : "gelu";
    notes.push_back("activation " + activation + ", as " + config_name + " beside the input says");
  }
  if (names.contains(*prefix + "input_resolution")) {
    if (settings && activation != "quick_gelu")
      settings->model->wrong("quick_gelu",
                             "true, as this is an archive of OpenAI's, whose models have no other activation,");
    activation = "quick_gelu";
    if (!settings) notes.push_back("activation quick_gelu: this is an archive of OpenAI's, whose models have no other");
  }
  check(!activation.empty(), where, "cannot tell the activation of ", quoted(file.path()), ": put ", config_name,
        " beside it");
  make_config(clip, shapes, settings, resnet, activation, notes);
  return clip;
}

Tensor read_part(const WeightsFile& file, const ClipPart& part) {
  const Tensor whole = file.read(part.source);
  if (part.how == ClipPart::as_it_is) return whole;
  if (part.how == ClipPart::transposed) {
    check(whole.rank() == 2, where, "expected 2 dimensions of '", printable(part.source), "', got ", whole.shape());
    return transpose(whole);
  }
  check(whole.rank() >= 1 && whole.shape(0) % 3 == 0, where, "expected three times as many rows as columns in '",
        printable(part.source), "', got ", whole.shape());
  const std::int64_t rows = whole.shape(0) / 3, first = (part.how - ClipPart::query) * rows;
  return slice(whole, first, first + rows).clone();
}

ClipVocabulary read_simple_vocabulary(const fs::path& file) {
  constexpr std::size_t merges = 49'152 - 256 - 2;
  const std::vector<std::string> lines = read_lines(file);
  check(lines.size() > merges, where, "expected more than ", merges, " lines in ", quoted(file), ", got ", lines.size(),
        ": unpack it with gunzip first, where its name ends with .gz");
  ClipVocabulary vocabulary{.vocab = {}, .merges = "#version: 0.2\n"};
  std::vector<std::string> tokens;
  for (int pass = 0; pass < 2; ++pass)  // the bytes that are visible Latin-1 characters first
    for (char32_t byte = 0, next = 256; byte < 256; ++byte) {
      const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      if (visible != (pass == 0)) continue;
      char bytes[4];
      tokens.emplace_back(bytes, put_code_point(visible ? byte : next++, bytes));
    }
  for (std::size_t i = 0; i < 256; ++i) tokens.push_back(std::string(tokens[i]).append("</w>"));
  for (std::size_t i = 1; i <= merges; ++i) {
    vocabulary.merges.append(lines[i]).append("\n");
    tokens.push_back(replaced(lines[i], " ", ""));
  }
  tokens.insert(tokens.end(), {"<|startoftext|>", "<|endoftext|>"});
  Json ids = Json::object();
  for (std::size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = i;
  vocabulary.vocab = ids.dump() + "\n";
  return vocabulary;
}

}  // namespace clip
