#include "examples/support/pair_encoder.hpp"

#include <algorithm>
#include <map>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/view.hpp"

namespace clip {
namespace {

/// work(part) for parts of items, one result below another.
template <class Work>
Tensor in_parts(std::span<const std::int32_t> items, std::size_t size, const Work& work) {
  const NoGrad guard;
  std::vector<Tensor> parts;
  for (std::size_t at = 0; at < items.size(); at += size)
    parts.push_back(work(items.subspan(at, std::min(size, items.size() - at))));
  return concat(parts);
}

Tensor rows(const Tensor& features, std::span<const std::int32_t> items) {
  return embedding(features, Tensor::from(items, {std::ssize(items)}, features.device()));
}

constexpr std::size_t encoded_at_once = 64, projected_at_once = 4096;

}  // namespace

std::vector<std::string> Pairs::texts(std::span<const std::int32_t> some) const {
  std::vector<std::string> list;
  for (const std::int32_t i : some) list.push_back(captions.at(static_cast<std::size_t>(i)));
  return list;
}

Tokens PairEncoder::tokens(std::span<const std::string> texts) const {
  return clip ? clip->model.text.cut(clip->tokenizer.encode(texts, {.truncate = true}), Device::cpu())
              : text->tokenizer.encode(texts);
}

Tokens PairEncoder::tokens_for_graphs(std::span<const std::string> texts) const {
  const Tokens packed = tokens(texts);
  if (device().is_cpu()) return packed;
  return packed.rounded(clip ? clip->model.config.context : text->config().max_positions);
}

Tensor PairEncoder::text_features(const Tokens& tokens, Random* random) const {
  Tokens there = tokens;
  for (Tensor* const list : {&there.ids, &there.offsets, &there.positions, &there.ends})
    if (list->defined()) *list = to(*list, device());
  return clip ? clip->model.embed_texts(there) : (*text)(there, random);
}

Tensor PairEncoder::image_features(const Tensor& pixels, Mode mode) {
  return clip ? clip->model.embed_images(to(pixels, clip->device)) : (*image)(pixels, mode);
}

Tensor PairEncoder::embed_texts(std::span<const std::string> texts) {
  const NoGrad guard;
  const Tokens all = tokens_for_graphs(texts);
  const auto work = [&](const std::vector<Tensor>& in) {
    const Tensor features = text_features({in[0], in[1], in[2], all.longest, in[3]});
    return std::vector{project_texts(slice(features, 0, std::ssize(texts)))};
  };
  return text_graphs(device(), {all.ids, all.offsets, all.positions, all.ends}, work, all.longest)[0];
}

Tensor PairEncoder::embed_images(const Tensor& pixels) {
  const NoGrad guard;
  const auto work = [&](const std::vector<Tensor>& in) { return std::vector{project_images(image_features(in[0]))}; };
  return image_graphs(device(), {pixels}, work)[0];
}

PairEncoder PairEncoder::in_use(dtype type) const {
  const NoGrad guard;
  PairEncoder model = *this;
  if (text) model.text = cast(*text, type);
  if (image) model.image->model = image->model.folded(type);
  if (clip) model.clip->model = cast(clip->model, type);
  return model;
}

PairEncoder PairEncoder::load(const std::filesystem::path& folder, const PairEncoder& like, dtype type) {
  PairEncoder model;
  if (like.heads) {
    const Tensor &text = like.heads->text.projection.weight, &image = like.heads->image.projection.weight;
    model.heads = load_heads(folder, text.shape(1), image.shape(1));
    for (const Member& member : members(*model.heads)) *member.tensor = to(*member.tensor, text.device());
  }
  if (like.clip) model.clip = ClipEncoder::load(folder, like.clip->device, type);
  if (like.text) model.text = TextEncoder::load(folder / "text", like.text->device, type);
  if (like.image) model.image = ImageEncoder::load(folder / "image", like.image->device, type);
  return model;
}

Tensor embed_texts(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> captions) {
  const Tensor& features = pairs.features.text;
  return in_parts(captions, features.defined() ? projected_at_once : encoded_at_once, [&](auto part) {
    return features.defined() ? model.project_texts(rows(features, part)) : model.embed_texts(pairs.texts(part));
  });
}

Tensor embed_pictures(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> pictures) {
  const Tensor& features = pairs.features.image;
  return in_parts(pictures, features.defined() ? projected_at_once : encoded_at_once, [&](auto part) {
    return features.defined() ? model.project_images(rows(features, part)) : model.embed_images(pairs.pixels(part));
  });
}

Embedded embed(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> captions) {
  const std::int32_t* const picture = pairs.features.picture.data<std::int32_t>();
  std::map<std::int32_t, std::int64_t> place;  // of a picture among those of these captions
  std::vector<std::int32_t> pictures;
  Embedded embedded;
  for (const std::int32_t caption : captions) {
    const auto [at, is_new] = place.emplace(picture[caption], std::ssize(pictures));
    if (is_new) pictures.push_back(picture[caption]);
    embedded.picture_of.push_back(at->second);
  }
  embedded.texts = embed_texts(model, pairs, captions);
  embedded.images = embed_pictures(model, pairs, pictures);
  return embedded;
}

void save_model(PairEncoder& model, const std::filesystem::path& text_model, const std::filesystem::path& image_model,
                const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "config.json"))
    save_dual_encoder(*model.heads, text_model, image_model, folder);
  else
    save_heads(*model.heads, folder);
  if (model.text) save_weights(*model.text, folder / "text");
  if (model.image) save_weights(*model.image, folder / "image");
}

void save_model(PairEncoder& model, const std::filesystem::path& clip_model, const std::filesystem::path& folder) {
  if (model.clip)
    save_clip(model.clip->model, clip_model, folder);
  else if (!std::filesystem::exists(folder / "config.json"))
    save_dual_encoder(*model.heads, clip_model, folder);
  else
    save_heads(*model.heads, folder);
}

std::string_view clip_side(std::string_view name) {
  if (name == "logit_scale") return "";
  return name.starts_with("text_") ? "text" : "image";
}

}  // namespace clip
