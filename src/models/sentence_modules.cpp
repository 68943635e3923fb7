#include "src/models/sentence_modules.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

constexpr std::array<std::string_view, 3> kinds = {".Transformer", ".Pooling", ".Normalize"};

Pooling read_pooling(const std::filesystem::path& folder) {
  const JsonFile json(folder / "config.json");
  const bool cls = json.boolean("pooling_mode_cls_token", false),
             mean = json.boolean("pooling_mode_mean_tokens", false);
  for (const auto& [key, value] : json.json().items())
    if (key.starts_with("pooling_mode_") && key != "pooling_mode_cls_token" && key != "pooling_mode_mean_tokens" &&
        json.boolean(key, false))
      json.wrong(key, "false: texts are pooled by their first token or their mean");
  if (cls == mean) json.wrong("pooling_mode_mean_tokens", "one of it and pooling_mode_cls_token to be true");
  return cls ? Pooling::cls : Pooling::mean;
}

}  // namespace

SentenceModules read_sentence_modules(const std::filesystem::path& folder) {
  SentenceModules said{.transformer = folder};
  const std::filesystem::path path = folder / "modules.json";
  if (!is_there(path)) return said;
  const Json modules = parse_json(read_file(path, 1 << 20), path);
  check(modules.is_array(), "config", "expected a list of modules in ", quoted(path), ", got ", modules.type_name());
  const auto* next = kinds.begin();
  for (const Json& module : modules) {
    const auto text = [&](const char* key) {
      check(module.is_object() && module.contains(key) && module[key].is_string(), "config", "expected a text for '",
            key, "' of each module in ", quoted(path), ", got ", shown(module));
      return module[key].get<std::string>();
    };
    const std::string type = text("type"), inner = text("path");
    check(inner.find("..") == std::string::npos && !inner.starts_with('/'), "config",
          "expected paths inside the folder in ", quoted(path), ", got '", printable(inner), "'");
    const auto* const kind = std::find_if(next, kinds.end(), [&](auto suffix) { return type.ends_with(suffix); });
    check(kind != kinds.end(), "config", "expected modules Transformer, Pooling and Normalize, in this order, in ",
          quoted(path), ", got '", printable(type), "'");
    next = kind + 1;
    if (kind == &kinds[0]) said.transformer = inner.empty() ? folder : folder / inner;
    if (kind == &kinds[1]) said.pooling = read_pooling(folder / inner);
    if (kind == &kinds[2]) said.normalize = true;
  }
  return said;
}

}  // namespace clip
