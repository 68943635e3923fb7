// What folders say about preprocessing: Hugging Face's preprocessor_config.json, or processor_config.json, in which
// transformers 5 puts the same, and timm's config.json.
#include <cmath>

#include "clip/image/preprocess.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

constexpr int largest_side = Preprocessing::largest_side;
constexpr std::array<float, 3> half{.5F, .5F, .5F};
constexpr std::array<float, 3> openai_mean{.48145466F, .4578275F, .40821073F};
constexpr std::array<float, 3> openai_std{.26862954F, .26130258F, .27577711F};

/// What an image processor does where its file says nothing.
struct Defaults {
  const char* type;
  int resample;
  Size size;
  bool shorter_side;  // whether `size` means the shorter side
  int crop;           // 0: none
  std::array<float, 3> mean, std;
};
constexpr Defaults processors[] = {
    {"CLIP", 3, {224, 224}, true, 224, openai_mean, openai_std},
    {"Bit", 3, {224, 224}, true, 224, openai_mean, openai_std},
    {"ViT", 2, {224, 224}, false, 0, half, half},
    {"DeiT", 3, {256, 256}, false, 224, half, half},
    {"ConvNext", 3, {384, 384}, true, 0, half, half},
};

const Defaults& defaults_of(const JsonFile& file) {
  const std::string key = file.has("image_processor_type") ? "image_processor_type" : "feature_extractor_type";
  const std::string type = file.text(key, "CLIPImageProcessor");
  for (const Defaults& d : processors)
    for (const char* suffix : {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"})
      if (type == std::string(d.type) + suffix) return d;
  file.wrong(key, "the image processor of CLIP, BiT, ViT, DeiT or ConvNext");
}

Filter filter_of(std::int64_t resample, const JsonFile& file) {
  switch (resample) {  // Pillow's numbers
    case 0: return Filter::nearest;
    case 2: return Filter::bilinear;
    case 3: return Filter::bicubic;
    case 4: return Filter::box;
    default: file.wrong("resample", "0 (nearest), 2 (bilinear), 3 (bicubic) or 4 (box)");
  }
}

int side(const Json& value, const JsonFile& file, const std::string& key) {
  if (!value.is_number_integer() || value < 1 || value > largest_side)
    file.wrong(key, "sides of 1 to " + std::to_string(largest_side));
  return value.get<int>();
}

/// A size is a number or {"height", "width"}; with {"shortest_edge"} both sides are that, and `shorter_side` is set.
Size size_of(const JsonFile& file, const std::string& key, Size fallback, bool& shorter_side) {
  if (!file.has(key)) return fallback;
  const Json& value = file.json()[key];
  if (value.is_number()) return {side(value, file, key), side(value, file, key)};
  if (value.is_object() && value.size() == 1 && value.contains("shortest_edge")) {
    shorter_side = true;
    return {side(value["shortest_edge"], file, key), side(value["shortest_edge"], file, key)};
  }
  if (value.is_object() && value.size() == 2 && value.contains("height") && value.contains("width")) {
    shorter_side = false;
    return {side(value["width"], file, key), side(value["height"], file, key)};
  }
  file.wrong(key, R"(a number, {"shortest_edge"} or {"height", "width"})");
}

std::array<float, 3> three(const Json& value, const JsonFile& file, const std::string& key) {
  std::array<float, 3> numbers{};
  const bool list = value.is_array();
  if (list ? value.size() != 3 : !value.is_number()) file.wrong(key, "a number or three");
  for (std::size_t c = 0; c < 3; ++c) {
    const Json& number = list ? value[c] : value;
    if (!number.is_number() || !std::isfinite(number.get<float>())) file.wrong(key, "three finite numbers");
    numbers[c] = number.get<float>();
  }
  return numbers;
}

Preprocessing from_huggingface(const JsonFile& file) {
  const Defaults& defaults = defaults_of(file);
  Preprocessing s;
  s.pipeline = Pipeline::huggingface;
  const std::string pipeline = file.text("pipeline", "huggingface");
  if (pipeline == "torchvision")
    s.pipeline = Pipeline::torchvision;
  else if (pipeline == "openai")
    s.pipeline = Pipeline::openai;
  else if (pipeline != "huggingface")
    file.wrong("pipeline", "'huggingface', 'torchvision' or 'openai'");

  bool shorter = defaults.shorter_side, unused = false;
  const Size size = size_of(file, "size", defaults.size, shorter);
  const bool crops = file.boolean("do_center_crop", defaults.crop != 0);
  if (crops) s.crop = size_of(file, "crop_size", {defaults.crop, defaults.crop}, unused);
  if (crops && s.crop == Size{}) file.wrong("crop_size", "the size to crop to");
  if (file.boolean("do_resize", true)) {
    s.filter = filter_of(file.integer("resample", 0, 5, defaults.resample), file);
    if (std::string_view(defaults.type) == "ConvNext") {
      // below 384 the resized picture is larger than the size asked for, and cropped to it
      if (!shorter) file.wrong("size", R"({"shortest_edge"})");
      const double crop_pct = file.number("crop_pct", 224. / 256);
      if (!(crop_pct > 0.01 && crop_pct <= 1)) file.wrong("crop_pct", "a number from 0.01 to 1");
      if (crops) file.wrong("do_center_crop", "false, as ConvNext crops while resizing,");
      if (size.width < 384) {
        s.shorter_side = static_cast<int>(size.width / crop_pct);
        s.crop = size;
      } else {
        s.size = size;
      }
    } else if (shorter) {
      s.shorter_side = size.width;
    } else {
      s.size = size;
    }
  }
  if (s.size == Size{} && s.crop == Size{})
    file.wrong("do_center_crop",
               "true, or a size with height and width, as pictures would come out in different sizes,");
  if (file.boolean("do_pad", false)) file.wrong("do_pad", "false, as padding is not supported,");

  if (file.has("background")) {
    const Json& color = file.json()["background"];
    s.background.emplace();
    if (!color.is_array() || color.size() != 3) file.wrong("background", "three integers from 0 to 255");
    for (std::size_t c = 0; c < 3; ++c) {
      if (!color[c].is_number_integer() || color[c] < 0 || color[c] > 255)
        file.wrong("background", "three integers from 0 to 255");
      (*s.background)[c] = color[c].get<std::uint8_t>();
    }
  }
  s.rescale = file.boolean("do_rescale", true) ? file.number("rescale_factor", 1. / 255) : 1;
  if (file.boolean("do_normalize", true)) {
    s.mean = file.has("image_mean") ? three(file.json()["image_mean"], file, "image_mean") : defaults.mean;
    s.std = file.has("image_std") ? three(file.json()["image_std"], file, "image_std") : defaults.std;
    for (const float std : s.std)
      if (std == 0) file.wrong("image_std", "numbers that are not 0");
  }
  return s;
}

/// timm: Resize(floor(input / crop_pct)) of the shorter side, or of both where crop_mode is squash, then CenterCrop.
Preprocessing from_timm(const JsonFile& file) {
  const Json& all = file.json()["pretrained_cfg"];
  const auto need = [&](const char* key) -> const Json& {
    if (!all.is_object() || !all.contains(key)) file.wrong("pretrained_cfg", std::string("'") + key + "' in it");
    return all[key];
  };
  Preprocessing s;
  s.pipeline = Pipeline::torchvision;
  const Json& input = need("input_size");
  if (!input.is_array() || input.size() != 3 || input[0] != 3 || input[1] != input[2])
    file.wrong("pretrained_cfg", "an 'input_size' of [3, side, side] in it");
  s.crop = {side(input[2], file, "pretrained_cfg"), side(input[1], file, "pretrained_cfg")};
  const Json& crop_pct = need("crop_pct");
  if (!crop_pct.is_number() || !(crop_pct > 0.01 && crop_pct <= 1))
    file.wrong("pretrained_cfg", "a 'crop_pct' from 0.01 to 1 in it");
  const int resized = static_cast<int>(std::floor(s.crop.width / crop_pct.get<double>()));
  const std::string mode = all.contains("crop_mode") && all["crop_mode"].is_string() ? all["crop_mode"] : "center";
  if (mode == "squash")
    s.size = {resized, resized};
  else if (mode == "center")
    s.shorter_side = resized;
  else
    file.wrong("pretrained_cfg", "'center' or 'squash' as 'crop_mode' in it");
  const Json& filter = need("interpolation");
  if (filter == "bicubic")
    s.filter = Filter::bicubic;
  else if (filter == "bilinear")
    s.filter = Filter::bilinear;
  else
    file.wrong("pretrained_cfg", "'bicubic' or 'bilinear' as 'interpolation' in it");
  s.mean = three(need("mean"), file, "pretrained_cfg");
  s.std = three(need("std"), file, "pretrained_cfg");
  return s;
}

}  // namespace

Preprocessor Preprocessor::load(const std::filesystem::path& folder) {
  const auto own = folder / "preprocessor_config.json", all = folder / "processor_config.json";
  const auto timm = folder / "config.json";
  const auto make = [](const Preprocessing& settings, const std::filesystem::path& file) {
    try {
      return Preprocessor(settings);
    } catch (const Error& e) {
      fail("config", "the settings in ", quoted(file), " make no sense: ", e.what());
    }
  };
  if (is_there(own)) return make(from_huggingface(JsonFile(own)), own);
  if (is_there(all)) {
    const JsonFile file(all);
    if (file.has("image_processor")) {
      if (!file.json()["image_processor"].is_object()) file.wrong("image_processor", "an object");
      return make(from_huggingface({all, file.json()["image_processor"], "image_processor."}), all);
    }
  }
  if (is_there(timm)) {
    const JsonFile file(timm);
    if (file.has("pretrained_cfg")) return make(from_timm(file), timm);
  }
  fail("preprocess", "expected preprocessor_config.json in ", quoted(folder),
       ", or processor_config.json, which says how pictures are resized and normalised: copy it from the model's home");
}

}  // namespace clip
