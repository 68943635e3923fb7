#include "clip/models/clip.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/attention.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/conv2d.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/view.hpp"
#include "src/models/model_size.hpp"

namespace clip {
namespace {

constexpr std::int64_t old_end_id = 2;  // what configs said before the end token's number was put right

}  // namespace

std::int64_t ClipTower::parameters() const {
  return layers * (4 * (size * size + size) + 2 * size * feed_forward + feed_forward + size + 4 * size);
}

std::int64_t ClipConfig::parameters() const {
  const std::int64_t texts = (vocab_size + context + 2) * text.size + text.parameters() + projection * text.size;
  const std::int64_t pictures =
      resnet ? resnet->parameters(projection)
             : (1 + channels * patch * patch + positions() + 4 + projection) * vision.size + vision.parameters();
  return texts + pictures + 1;
}

Tensor ClipLayer::operator()(Tensor x, const Tokens& texts) const {
  const Tensor normal = attention_norm(x);
  const std::int64_t size = x.shape(-1);
  const bool packed = texts.offsets.defined();
  const Shape split =
      packed ? Shape{x.shape(0), heads, size / heads} : Shape{x.shape(0), x.shape(1), heads, size / heads};
  const Tensor context =
      attention(reshape(query(normal), split), reshape(key(normal), split), reshape(value(normal), split),
                {.causal = packed, .offsets = texts.offsets, .longest = texts.longest});
  return finish(context, std::move(x));
}

Tensor ClipLayer::pooled_row(const Tensor& x, const Tokens& texts) const {
  const std::int64_t size = x.shape(-1), dim = size / heads;
  const Tensor normal = attention_norm(x);
  Tensor row, context;
  if (texts.offsets.defined()) {
    const Shape split{x.shape(0), heads, dim};
    row = embedding(x, texts.ends);
    context = attention(reshape(query(embedding(normal, texts.ends)), {texts.count(), 1, heads, dim}),
                        reshape(key(normal), split), reshape(value(normal), split),
                        {.offsets = texts.offsets, .longest = texts.longest});
  } else {
    const std::int64_t count = x.shape(0), length = x.shape(1);
    const Shape split{count, length, heads, dim};
    row = reshape(slice(x, 0, 1, 1), {count, size});
    context = attention(reshape(query(slice(normal, 0, 1, 1)), {count, 1, heads, dim}), reshape(key(normal), split),
                        reshape(value(normal), split));
  }
  return finish(context, std::move(row));
}

Tensor ClipLayer::finish(const Tensor& context, Tensor x) const {
  const Shape rows = x.shape();
  Tensor x1 = attention_out(reshape(context, rows), {.residual = std::move(x)});
  const Tensor hidden = up(feed_forward_norm(x1), {.activation = activation});
  return down(hidden, {.residual = std::move(x1)});
}

ClipText::ClipText(const ClipConfig& config, Init init)
    : end_id(config.end_id),
      token(config.vocab_size, config.text.size, init),
      position(config.context, config.text.size, init),
      final_norm(config.text.size, init, config.text.norm_eps) {
  for (std::int64_t i = 0; i < config.text.layers; ++i) layers.emplace_back(config.text, init);
}

Tokens ClipText::cut(const Tokens& tokens, const Device& device) const {
  const auto ids = tokens.ids.to_vector<std::int32_t>(), offsets = tokens.offsets.to_vector<std::int32_t>();
  std::vector<std::vector<std::int32_t>> texts;
  std::vector<std::int32_t> ends;
  std::int32_t rows = 0;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    check(offsets[i] >= 0 && offsets[i] <= offsets[i + 1] && offsets[i + 1] <= std::ssize(ids), "clip",
          "expected offsets that ascend to ", ids.size(), ", got ", offsets[i], " and ", offsets[i + 1]);
    const auto begin = ids.begin() + offsets[i], end = ids.begin() + offsets[i + 1];
    const auto last =
        end_id == old_end_id ? std::max_element(begin, end) : std::find(begin, end, static_cast<std::int32_t>(end_id));
    check(last != end, "clip", "expected the end token ", end_id, " in each text, got none in text ", i + 1);
    texts.emplace_back(begin, last + 1);
    ends.push_back((rows += static_cast<std::int32_t>(texts.back().size())) - 1);
  }
  Tokens packed = Tokens::pack(texts, device);
  packed.ends = Tensor::from(ends, {std::ssize(ends)}, device);
  return packed;
}

Tensor ClipText::embed(const Tokens& tokens) const {
  check(tokens.longest <= position.weight.shape(0), "clip", "expected texts of at most ", position.weight.shape(0),
        " tokens, got one of ", tokens.longest);
  return token(tokens.ids) + position(tokens.positions);
}

Tensor ClipText::operator()(const Tokens& tokens) const {
  const Tokens texts = tokens.ends.defined() ? tokens : cut(tokens, token.weight.device());
  Tensor x = embed(texts);
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i](std::move(x), texts);
  return final_norm(layers.back().pooled_row(x, texts));
}

ClipVision::ClipVision(const ClipConfig& config, Init init)
    : image_size(config.image_size),
      patch(config.patch),
      class_embedding(init.normal({config.vision.size}, 0.02f)),
      patches(init.normal({config.vision.size, config.channels, config.patch, config.patch}, 0.02f)),
      position(config.positions(), config.vision.size, init),
      pre_norm(config.vision.size, init, config.vision.norm_eps),
      post_norm(config.vision.size, init, config.vision.norm_eps) {
  for (std::int64_t i = 0; i < config.vision.layers; ++i) layers.emplace_back(config.vision, init);
}

Tensor ClipVision::embed(const Tensor& images) const {
  check(images.rank() == 4 && images.shape(1) == image_size && images.shape(2) == image_size &&
            images.shape(3) == patches.shape(1),
        "clip", "expected images [N, ", image_size, ", ", image_size, ", ", patches.shape(1), "], got ",
        images.shape());
  const std::int64_t count = images.shape(0), size = patches.shape(0);
  const Tensor grid = conv2d(to(images, patches.dtype()), patches, {}, {.stride = patch});
  const Tensor rows = reshape(grid, {count, position.weight.shape(0) - 1, size});
  return concat({expand(reshape(class_embedding, {1, 1, size}), {count, 1, size}), rows}, 1) + position.weight;
}

Tensor ClipVision::operator()(const Tensor& images) const {
  Tensor x = pre_norm(embed(images));
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i](std::move(x));
  return post_norm(layers.back().pooled_row(x));
}

Clip::Clip(const ClipConfig& c, Init init) : config(c), text(c, init) {
  if (c.resnet)
    resnet.emplace(*c.resnet, c.projection, init);
  else
    vision.emplace(c, init);
  text_projection = init.normal({c.projection, c.text.size}, 0.02f);
  if (vision) visual_projection = init.normal({c.projection, c.vision.size}, 0.02f);
  logit_scale = init.constant({}, 2.6592f);  // log(1 / 0.07)
}

Clip Clip::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  const ClipConfig config = ClipConfig::read(folder);
  const SafeTensors file = SafeTensors::open(folder);
  check_model_size(config.parameters(), folder / "config.json", file);
  Clip model(config, Init::none());
  const WeightNames names = weight_names(file.tensors(), file.path(), Architecture::clip);
  clip::load(members(model), file, names, device, type);
  model.logit_scale = to(to(file.read(*names.source_of("logit_scale")), dtype::f32), device);  // bf16 would move it
  return model;
}

Tensor Clip::embed_texts(const Tokens& tokens) const { return to(linear(text(tokens), text_projection), dtype::f32); }

Tensor Clip::embed_images(const Tensor& images) const {
  return to(vision ? linear((*vision)(images), visual_projection) : (*resnet)(images), dtype::f32);
}

}  // namespace clip
