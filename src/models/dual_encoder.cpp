#include "clip/models/dual_encoder.hpp"

#include <system_error>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

/// The files of a model folder, in another: linked, or copied.
void link_folder(const fs::path& from, const fs::path& to) {
  check(fs::is_directory(from), "dual_encoder", "expected a model folder, but ", quoted(from), " is none");
  fs::remove_all(to);
  fs::create_directories(to);
  for (fs::recursive_directory_iterator at(from), end; at != end; ++at) {
    const fs::path relative = fs::relative(at->path(), from);
    if (at->path().filename().string().starts_with('.')) {
      if (at->is_directory()) at.disable_recursion_pending();
    } else if (at->is_directory()) {
      fs::create_directories(to / relative);
    } else if (at->is_regular_file()) {
      std::error_code no_link;
      fs::create_hard_link(fs::canonical(at->path()), to / relative, no_link);
      if (no_link) write_file(to / relative, read_file(at->path(), std::uint64_t{1} << 40));
    }
  }
}

void replace_weights(const std::vector<Member>& weights, const fs::path& folder) {
  save(weights, folder / "model.safetensors");
  for (const auto& entry : fs::directory_iterator(folder))
    if (is_weights_file(entry.path()) && entry.path().filename() != "model.safetensors") fs::remove(entry.path());
}

}  // namespace

bool DualEncoder::is_in(const fs::path& folder) {
  return JsonFile(folder / "config.json").text("model_type", "") == "dual_encoder";
}

DualHeads load_heads(const fs::path& folder, std::int64_t text_size, std::int64_t image_size) {
  const JsonFile json(folder / "config.json");
  if (json.text("model_type") != "dual_encoder") json.wrong("model_type", "dual_encoder");
  DualHeads heads(text_size, image_size, json.integer("projection_dim", 1, 65'536), Init::none());
  const SafeTensors file = SafeTensors::open(folder / "model.safetensors");
  if (file.has("logit_scale")) heads.logit_scale = Tensor({1});
  if (file.has("logit_bias")) heads.logit_bias = Tensor({1});
  clip::load(members(heads), file);
  return heads;
}

DualEncoder DualEncoder::load(const fs::path& folder, const Device& device, dtype type) {
  TextEncoder text = TextEncoder::load(folder / "text", device, type);
  ImageEncoder image = ImageEncoder::load(folder / "image", device, type);
  DualHeads heads = load_heads(folder, text.config().size, image.model.config.widths.back());
  for (const Member& member : members(heads)) *member.tensor = to(*member.tensor, device);
  return {.text = std::move(text), .image = std::move(image), .heads = std::move(heads)};
}

void save_heads(DualHeads& heads, const fs::path& folder) {
  save(heads, folder / "model.safetensors");
  const Json config = {{"model_type", "dual_encoder"}, {"projection_dim", heads.text.projection.weight.shape(0)}};
  write_file(folder / "config.json", config.dump(2) + "\n");
}

void save_weights(TextEncoder& encoder, const fs::path& folder) { replace_weights(members(encoder), folder); }
void save_weights(ImageEncoder& encoder, const fs::path& folder) { replace_weights(members(encoder), folder); }

void save_dual_encoder(DualHeads& heads, const fs::path& text_model, const fs::path& image_model,
                       const fs::path& folder) {
  fs::create_directories(folder);
  link_folder(text_model, folder / "text");
  link_folder(image_model, folder / "image");
  save_heads(heads, folder);
}

}  // namespace clip
