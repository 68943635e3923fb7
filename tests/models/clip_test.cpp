#include "clip/models/clip.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/matmul.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

const ClipTower small_text = {.size = 32, .feed_forward = 48, .layers = 2, .heads = 4};
const ClipTower small_vision = {.size = 24, .feed_forward = 40, .layers = 2, .heads = 2};
const ClipConfig small = {.text = small_text,
                          .vision = small_vision,
                          .vocab_size = 60,
                          .context = 20,
                          .end_id = 59,
                          .image_size = 32,
                          .patch = 8,
                          .projection = 16};
const char* const small_json = R"({"model_type": "clip", "projection_dim": 16,
  "text_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                  "vocab_size": 60, "max_position_embeddings": 20, "eos_token_id": 59, "hidden_act": "quick_gelu"},
  "vision_config": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu"}})";

Tokens small_tokens(const Device& device = {}) { return end_tokens(60, {7, 2, 12}, {6, 1, 8}, device); }

void check_small(const Device& device) {
  INFO("on " << device);
  const SafeTensors expected = golden("clip_small");
  Clip model = hash_filled<Clip>(small, device);
  requires_grad(model);
  const Tensor images = hash_images(3, 32, device), text = model.embed_texts(small_tokens(device));
  const Tensor image = model.embed_images(images);
  CHECK(compare(text, expected.read("text")).relative < 1e-5);
  CHECK(compare(image, expected.read("image")).relative < 1e-5);
  backward(sum(text * to(hash_tensor("dy.text", {3, 16}), device)) +
           sum(image * to(hash_tensor("dy.image", {3, 16}), device)));
  for (const Member& member : members(model)) {
    INFO(member.name);
    if (member.name == "logit_scale") continue;  // not reached
    const Tensor gradient = member.tensor->grad();
    if (member.name.ends_with("k_proj.bias"))  // softmax doesn't see it: rounding only
      for (const float g : gradient.to_vector()) CHECK(std::abs(g) < 1e-5f);
    else
      CHECK(compare(gradient, expected.read("grad." + member.name)).relative < 1e-4);
  }
  const NoGrad guard;  // the fused path
  CHECK(compare(model.embed_texts(small_tokens(device)), expected.read("text")).relative < 1e-5);
  CHECK(compare(model.embed_images(images), expected.read("image")).relative < 1e-5);
  const Tensor cosines = matmul(l2_normalize(image.detach()), l2_normalize(text.detach()), {.transpose_b = true});
  CHECK(compare(cosines, expected.read("cosines")).relative < 1e-5);
  CHECK(compare(softmax(cosines * exp(model.logit_scale.detach())), expected.read("probabilities")).relative < 1e-5);
}

TEST_CASE("a small CLIP has the reference's values and gradients", "[clip]") {
  for (const Device& device : devices()) check_small(device);
}

TEST_CASE("a CLIP's score has the reference's gradient with respect to the pictures", "[clip]") {
  const SafeTensors expected = golden("clip_small");
  const Clip model = hash_filled<Clip>(small);
  const Tensor texts = l2_normalize(model.embed_texts(small_tokens()));
  const auto score = [&](const Tensor& images) { return sum(l2_normalize(model.embed_images(images)) * texts); };
  const Tensor images = hash_images(3, 32).requires_grad();
  backward(score(images));
  CHECK(compare(images.grad(), expected.read("grad.score")).relative < 1e-4);

  const NoGrad guard;  // and that of finite differences, along some directions
  for (const std::string name : {"a", "b", "c"}) {
    const Tensor step = scale(hash_tensor(name, images.shape()), 0.02f);
    const float change = score(images + step).item() - score(images - step).item();
    CHECK(change == Approx(2 * sum(images.grad() * step).item()).epsilon(0.01));
  }
}

TEST_CASE("a CLIP with GELU and the old number of the end token has the reference's values", "[clip]") {
  const SafeTensors expected = golden("clip_gelu");
  ClipConfig config = small;
  config.text.activation = config.vision.activation = Activation::gelu;
  config.text.norm_eps = config.vision.norm_eps = 1e-6f;
  config.end_id = 2;
  config.image_size = 48;
  const NoGrad guard;
  const Clip model = hash_filled<Clip>(config);
  CHECK(compare(model.embed_texts(small_tokens()), expected.read("text")).relative < 1e-5);
  CHECK(compare(model.embed_images(hash_images(3, 48)), expected.read("image")).relative < 1e-5);
  config.text.activation = config.vision.activation = Activation::quick_gelu;  // which matters
  CHECK(compare(hash_filled<Clip>(config).embed_images(hash_images(3, 48)), expected.read("image")).relative > 1e-4);
}

void check_small_resnet(const Device& device) {
  INFO("on " << device);
  const SafeTensors expected = golden("clip_resnet_small");
  ClipConfig config = small;
  config.projection = 12;
  config.resnet = ClipResNetConfig{.depths = {1, 2, 1, 1}, .width = 4, .heads = 4, .image_size = 64};
  Clip model = hash_filled<Clip>(config, device);
  requires_grad(model);
  const Tensor images = hash_images(2, 64, device).requires_grad();
  const Tensor image = model.embed_images(images);
  CHECK(compare(image, expected.read("image")).relative < 1e-5);
  backward(sum(image * to(hash_tensor("dy.image", {2, 12}), device)));
  CHECK(compare(images.grad(), expected.read("grad.images")).relative < 1e-4);
  int compared = 0;
  for (const Member& member : members(model))
    if (expected.has("grad." + member.name)) {
      INFO(member.name);
      CHECK(compare(member.tensor->grad(), expected.read("grad." + member.name)).relative < 1e-4);
      ++compared;
    }
  CHECK(compared == 7);
}

TEST_CASE("a CLIP with OpenAI's ResNet has the reference's values and gradients", "[clip]") {
  for (const Device& device : devices()) check_small_resnet(device);
}

TEST_CASE("texts of a CLIP end at their end token", "[clip]") {
  const NoGrad guard;
  const Clip model = hash_filled<Clip>(small);
  const Tensor all = model.embed_texts(small_tokens());
  const Tensor cut = model.embed_texts(end_tokens(60, {7, 2, 9}, {6, 1, 8}));
  CHECK(compare(all, cut).relative == 0);
  CHECK(model.embed_texts(Tokens::pack({})).shape() == Shape{0, 16});
  using Texts = std::vector<std::vector<std::int32_t>>;
  CHECK(throws_with(
      [&] {
        model.embed_texts(Tokens::pack(Texts{{1, 59}, {1, 2}}));
      },
      "expected the end token 59 in each text, got none in text 2"));
  std::vector<std::int32_t> long_text(21, 1);
  long_text.back() = 59;
  CHECK(throws_with([&] { model.embed_texts(Tokens::pack(Texts{long_text})); },
                    "expected texts of at most 20 tokens, got one of 21"));
  CHECK(throws_with([&] { model.embed_images(zeros({1, 32, 24, 3})); }, "expected images [N, 32, 32, 3], got [1, 32"));
}

TEST_CASE("a CLIP loads from a folder as Hugging Face writes it", "[clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  folder.write("config.json", small_json);
  Clip model = hash_filled<Clip>(small);
  model.logit_scale = Tensor::of(4.6052);
  std::vector<NamedTensor> tensors = {{"text_model.embeddings.position_ids", zeros({1, 20}, dtype::i64)},
                                      {"vision_model.embeddings.position_ids", zeros({1, 17}, dtype::i64)}};
  for (const Member& member : members(model)) tensors.push_back({member.name, *member.tensor});
  save_safetensors(folder / "model.safetensors", tensors);
  const Clip loaded = Clip::load(folder.path());
  CHECK(compare(loaded.embed_texts(small_tokens()), model.embed_texts(small_tokens())).relative == 0);
  const Tensor images = hash_images(2, 32);
  CHECK(compare(loaded.embed_images(images), model.embed_images(images)).relative == 0);
  const Clip half = Clip::load(folder.path(), {}, dtype::bf16);
  CHECK(half.text_projection.dtype() == dtype::bf16);
  CHECK(half.logit_scale.item() == 4.6052f);
  for (const Device& device : devices()) {
    INFO("on " << device);
    const Clip there = Clip::load(folder.path(), device, dtype::bf16);
    CHECK(compare(there.embed_images(to(images, device)), model.embed_images(images)).cosine > 0.999);
    CHECK(compare(there.embed_texts(small_tokens(device)), model.embed_texts(small_tokens())).cosine > 0.999);
  }

  const auto load = [&] { return Clip::load(folder.path()); };
  tensors.pop_back();
  save_safetensors(folder / "model.safetensors", tensors);
  CHECK(throws_with(load, "missing: text_projection.weight [16, 32]"));
  std::string other = small_json;
  other.replace(other.find("\"patch_size\": 8"), 15, "\"patch_size\": 16");
  folder.write("config.json", other);
  CHECK(throws_with(load, "vision_model.embeddings.patch_embedding.weight is [24, 3, 8, 8], expected [24, 3, 16, 16]"));
}

TEST_CASE("a CLIP knows how many numbers its weights are", "[clip]") {
  const auto check_count = [](const ClipConfig& config) {
    std::int64_t sum = 0;
    Clip model(config, Init::none());
    for (const Member& member : members(model)) sum += member.tensor->numel();
    CHECK(config.parameters() == sum);
  };
  check_count(small);
  ClipConfig config = small;
  config.resnet = ClipResNetConfig{.depths = {1, 2, 1, 1}, .width = 4, .heads = 4, .image_size = 64};
  check_count(config);
  CHECK(ClipConfig{}.parameters() == 151'277'313);  // ViT-B/32
}

TEST_CASE("a CLIP's configuration is read, and impossible ones are refused by name", "[clip]") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& from, const std::string& to) {
    std::string config = small_json;
    config.replace(config.find(from), from.size(), to);
    folder.write("config.json", config);
    return ClipConfig::read(folder.path());
  };
  CHECK(read("quick_gelu", "gelu").text.activation == Activation::gelu);
  CHECK(read("quick_gelu", "gelu").vision.activation == Activation::quick_gelu);
  CHECK(read("\"eos_token_id\": 59", "\"eos_token_id\": 2").end_id == 2);
  const ClipConfig old =  // as OpenAI's old folders have it
      read("\"vision_config\"",
           R"("text_config_dict": null, "vision_config_dict": {"patch_size": 4}, "vision_config")");
  CHECK((old.patch == 4 && old.positions() == 65 && old.text.heads == 4));
  folder.write("config.json", R"({"model_type": "clip"})");
  CHECK(ClipConfig::read(folder.path()).parameters() == 151'277'313);

  const auto refused = [&](const std::string& from, const std::string& to, const std::string& message) {
    return throws_with([&] { read(from, to); }, message);
  };
  CHECK(refused("\"clip\"", "\"siglip\"", "expected clip for 'model_type'"));
  CHECK(refused("quick_gelu", "swish",
                "expected quick_gelu, gelu, gelu_new or gelu_pytorch_tanh for "
                "'text_config.hidden_act'"));
  CHECK(refused("\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "'text_config.num_attention_heads'"));
  CHECK(refused("\"patch_size\": 8", "\"patch_size\": 33", "'vision_config.patch_size'"));
  CHECK(refused("\"image_size\": 32", "\"image_size\": 0", "'vision_config.image_size'"));
  CHECK(refused("\"vocab_size\": 60", "\"vocab_size\": 50", "'text_config.eos_token_id'"));
  CHECK(refused("\"projection_dim\": 16", "\"projection_dim\": -1", "'projection_dim'"));
  CHECK(refused("\"patch_size\": 8", "\"model_type\": \"clip_resnet\"", "'vision_config.depths'"));
}

}  // namespace
}  // namespace clip
