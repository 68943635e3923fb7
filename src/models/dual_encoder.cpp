#include "clip/models/dual_encoder.hpp"

#include <string>
#include <system_error>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"
#include "src/models/model_folder.hpp"
#include "src/models/model_size.hpp"
#include "src/models/sentence_modules.hpp"

namespace clip {
namespace fs = std::filesystem;

DualHeads load_heads(const fs::path& folder, std::int64_t text_size, std::int64_t image_size) {
  const JsonFile json(folder / "config.json");
  if (json.text("model_type") != "dual_encoder") json.wrong("model_type", "dual_encoder");
  const std::int64_t size = json.integer("projection_dim", 1, 65'536);
  const SafeTensors file = SafeTensors::open(folder / "model.safetensors");
  check_model_size(size * (text_size + image_size + 2 * size + 8), json.path(), file);
  DualHeads heads(text_size, image_size, size, Init::none());
  if (!file.has("text_projection.fc.weight")) heads.text.make_linear();
  if (!file.has("image_projection.fc.weight")) heads.image.make_linear();
  if (file.has("logit_scale")) heads.logit_scale = Tensor({1});
  if (file.has("logit_bias")) heads.logit_bias = Tensor({1});
  clip::load(members(heads), file);
  return heads;
}

namespace {

/// The folder of one encoder; it may be a link to one that others share.
fs::path part_of(const fs::path& folder, const char* name) {
  const fs::path part = folder / name;
  if (is_folder(part)) return part;
  std::string got = "none";
  if (std::error_code none; fs::is_symlink(part, none))
    got =
        std::string("a link to ").append(quoted(fs::read_symlink(part, none))).append(", which is not there: fetch it");
  fail("dual_encoder", "expected a model folder ", quoted(part), ", got ", got);
}

}  // namespace

DualEncoder DualEncoder::load(const fs::path& folder, const Device& device, dtype type) {
  check(
      !is_folder(folder / "clip"), "dual_encoder", quoted(folder),
      " holds heads on the features of a CLIP, not of two encoders: ClipEncoder::load reads that in its folder clip, ",
      "and load_heads the heads");
  TextEncoder text = TextEncoder::load(part_of(folder, "text"), device, type);
  ImageEncoder image = ImageEncoder::load(part_of(folder, "image"), device, type);
  DualHeads heads = load_heads(folder, text.config().size, image.model.config.widths.back());
  for (const Member& member : members(heads)) *member.tensor = to(*member.tensor, device);
  return {.text = std::move(text), .image = std::move(image), .heads = std::move(heads)};
}

void save_heads(DualHeads& heads, const fs::path& folder) {
  save(heads, folder / "model.safetensors");
  const Json config = {{"model_type", "dual_encoder"}, {"projection_dim", heads.text.projection.weight.shape(0)}};
  write_file(folder / "config.json", config.dump(2) + "\n");
}

void save_weights(TextEncoder& encoder, const fs::path& folder) {
  replace_weights(members(encoder), read_sentence_modules(folder).transformer);
}
void save_weights(ImageEncoder& encoder, const fs::path& folder) { replace_weights(members(encoder), folder); }

void save_dual_encoder(DualHeads& heads, const fs::path& text_model, const fs::path& image_model,
                       const fs::path& folder) {
  link_folder(text_model, folder / "text");
  link_folder(image_model, folder / "image");
  save_heads(heads, folder);
}
void save_dual_encoder(DualHeads& heads, const fs::path& clip_model, const fs::path& folder) {
  link_folder(clip_model, folder / "clip");
  save_heads(heads, folder);
}

}  // namespace clip
