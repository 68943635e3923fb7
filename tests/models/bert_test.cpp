#include "clip/models/bert.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/view.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

const BertConfig small_distilbert = {
    .vocab_size = 60, .max_positions = 20, .token_types = 0, .size = 32, .feed_forward = 48, .layers = 2, .heads = 4};
const BertConfig small_bert = {.vocab_size = 60,
                               .max_positions = 20,
                               .size = 32,
                               .feed_forward = 48,
                               .layers = 2,
                               .heads = 2,
                               .activation = Activation::gelu_tanh,
                               .norm_eps = 1e-5f};
const BertConfig distilbert_base = {.token_types = 0, .layers = 6};

/// Each layer, the pooled results, and the gradients of all parameters.
template <class Model>
void check_small(const BertConfig& config, const std::string& name, const Device& device) {
  INFO(name << " on " << device);
  const SafeTensors expected = golden(name);
  const Tokens batch = hash_tokens(60, {7, 1, 12}, device);
  Model model = hash_filled<Model>(config, device);
  requires_grad(model);

  Tensor x = model.embeddings(batch);
  CHECK(compare(x, expected.read("layer.0")).relative < 1e-6);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    x = model.layers[i](x, batch);
    CHECK(compare(x, expected.read("layer." + std::to_string(i + 1))).relative < 1e-5);
  }
  const HiddenStates states = model(batch);
  CHECK(compare(states.rows, x).relative == 0);
  CHECK(compare(states.cls(), expected.read("cls")).relative < 1e-5);
  CHECK(compare(model.cls(batch), expected.read("cls")).relative < 1e-5);
  CHECK(compare(states.mean(), expected.read("mean")).relative < 1e-5);

  backward(sum(states.rows * to(hash_tensor("dy", states.rows.shape()), device)));
  for (const Member& member : members(model)) {
    if (member.name.starts_with("pooler")) continue;  // not reached
    INFO(member.name);
    if (member.name.ends_with("key.bias") ||
        member.name.ends_with("k_lin.bias"))  // softmax doesn't see it: rounding only
      for (const float g : member.tensor->grad().to_vector()) CHECK(std::abs(g) < 1e-5f);
    else
      CHECK(compare(member.tensor->grad(), expected.read("grad." + member.name)).relative < 1e-4);
  }
  {
    const NoGrad guard;  // the fused path
    CHECK(compare(model(batch).rows, x).relative < 1e-5);
  }
}

TEST_CASE("a small DistilBERT and BERT have the reference's values and gradients", "[bert]") {
  for (const Device& device : devices()) {
    check_small<DistilBert>(small_distilbert, "distilbert_small", device);
    check_small<Bert>(small_bert, "bert_small", device);
  }
}

template <class Model>
void check_full(const BertConfig& config, const std::string& name) {
  const SafeTensors expected = golden(name);
  const NoGrad guard;
  Model model = hash_filled<Model>(config);
  const Tokens batch = hash_tokens(30522, {3, 17, 64});
  Tensor x = model.embeddings(batch);
  for (std::size_t i = 0; i <= model.layers.size(); ++i) {
    CHECK(compare(slice(x, 0, 2), expected.read("layer." + std::to_string(i))).relative < 1e-5);
    if (i < model.layers.size()) x = model.layers[i](std::move(x), batch);
  }
  const HiddenStates states = model(batch);
  for (const Difference& d :
       {compare(states.cls(), expected.read("cls")), compare(model.cls(batch), expected.read("cls")),
        compare(states.mean(), expected.read("mean"))}) {
    CHECK(d.relative < 1e-4);
    CHECK(d.cosine > 0.999999);
  }
  for (const Member& member : members(model)) *member.tensor = to(*member.tensor, dtype::bf16);
  CHECK(compare(model.cls(batch), expected.read("cls")).cosine > 0.999);
  CHECK(compare(model(batch).mean(), expected.read("mean")).cosine > 0.999);
}

TEST_CASE("DistilBERT and BERT of full size have the reference's values, in f32 and bf16", "[bert][full]") {
  check_full<DistilBert>(distilbert_base, "distilbert");
  check_full<Bert>({}, "bert");
}

const char* const small_config = R"({"model_type": "bert", "vocab_size": 60, "hidden_size": 32,
  "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 20,
  "type_vocab_size": 2, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5})";

/// Tensors under other names, as a file may have them.
void save_renamed(Bert& model, const std::filesystem::path& path,
                  const std::function<std::string(std::string)>& rename) {
  std::vector<NamedTensor> tensors;
  for (const Member& member : members(model)) tensors.push_back({rename(member.name), *member.tensor});
  save_safetensors(path, tensors);
}

TEST_CASE("a BERT loads from a folder, under the names that files have", "[bert]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  folder.write("config.json", small_config);
  Bert model = hash_filled<Bert>(small_bert);
  const Tokens batch = hash_tokens(60, {7, 1, 12});
  const Tensor expected = model(batch).rows;

  save(model, folder / "model.safetensors");
  CHECK(compare(Bert::load(folder.path())(batch).rows, expected).relative == 0);
  for (const Device& device : devices()) {
    INFO("on " << device);
    const Tokens there = hash_tokens(60, {7, 1, 12}, device);
    CHECK(compare(Bert::load(folder.path(), device)(there).rows, expected).relative < 1e-5);
    const Tensor low = Bert::load(folder.path(), device, dtype::bf16)(there).rows;
    CHECK(low.dtype() == dtype::bf16);
    CHECK(low.device() == device);
    CHECK(compare(low, expected).cosine > 0.999);
  }
  save_renamed(model, folder / "model.safetensors", [](std::string name) {
    const std::size_t norm = name.find("LayerNorm.");
    if (norm != std::string::npos) name.replace(norm + 10, name.size(), name.ends_with("weight") ? "gamma" : "beta");
    return "bert." + name;
  });
  CHECK(compare(Bert::load(folder.path())(batch).rows, expected).relative == 0);
  model.pooler.reset();
  save(model, folder / "model.safetensors");
  CHECK(!Bert::load(folder.path()).pooler);
}

TEST_CASE("weights that do not fit are all listed in one error", "[bert]") {
  const TemporaryFolder folder;
  folder.write("config.json", small_config);
  Bert model = hash_filled<Bert>(small_bert);
  const auto load = [&] { return Bert::load(folder.path()); };
  CHECK(throws_with(load, "model.safetensors"));
  save_renamed(model, folder / "model.safetensors", [](const std::string& name) {
    return name == "embeddings.LayerNorm.bias" ? "encoder.layer.7.output.LayerNorm.bias" : name;
  });
  CHECK(throws_with(load, "missing: embeddings.LayerNorm.bias [32]"));
  CHECK(throws_with(load, "unexpected: encoder.layer.7.output.LayerNorm.bias [32]"));
  model.layers[1].down.weight = zeros({32, 47});
  save(model, folder / "model.safetensors");
  CHECK(throws_with(load, "of another shape: encoder.layer.1.output.dense.weight is [32, 47], expected [32, 48]"));
  std::string absurd = small_config;
  absurd.replace(absurd.find("\"vocab_size\": 60"), 16, "\"vocab_size\": 9000000");
  folder.write("config.json", absurd);
  CHECK(throws_with(load, "config.json' describes a model of 2880"));
}

TEST_CASE("a BERT knows how many numbers its weights are", "[bert]") {
  const auto count = [](auto model) {
    std::int64_t sum = 0;
    for (const Member& member : members(model)) sum += member.tensor->numel();
    return sum;
  };
  CHECK(small_bert.parameters() + 32 * 33 == count(Bert(small_bert, Init::none())));
  BertConfig distil = small_bert;
  distil.token_types = 0;
  CHECK(distil.parameters() == count(DistilBert(distil, Init::none())));
}

TEST_CASE("impossible configurations of BERT are refused by name", "[bert]") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& message) {
    std::string config = small_config;
    config.replace(config.find(from), from.size(), to);
    folder.write("config.json", config);
    return throws_with([&] { BertConfig::read(folder.path()); }, message);
  };
  CHECK(refused("\"bert\"", "\"roberta\"", "expected bert or distilbert for 'model_type'"));
  CHECK(refused("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "'num_attention_heads'"));
  CHECK(refused("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", "'num_hidden_layers'"));
  CHECK(refused("\"vocab_size\": 60", "\"vocab_size\": -1", "'vocab_size'"));
  CHECK(refused("\"hidden_size\": 32,", "", "'hidden_size'"));
  CHECK(refused("1e-5", "0", "'layer_norm_eps'"));
  CHECK(refused("gelu_new", "swish", "'hidden_act'"));
  CHECK(refused("\"type_vocab_size\"", "\"is_decoder\": true, \"type_vocab_size\"", "'is_decoder'"));
  CHECK(refused("\"type_vocab_size\"", "\"position_embedding_type\": \"relative_key\", \"type_vocab_size\"",
                "'position_embedding_type'"));
}

TEST_CASE("means of many texts take no matrix of all texts and tokens", "[bert]") {
  const NoGrad guard;
  std::vector<std::vector<std::int32_t>> texts(20'000, {1, 2, 3, 4, 5, 6, 7, 8});
  texts[9'999] = {9};
  const Tokens tokens = Tokens::pack(texts);
  Tensor rows({tokens.ids.numel(), 2});
  for (std::int64_t i = 0; i < rows.numel(); ++i)
    rows.mutable_data<float>()[i] = static_cast<float>(tokens.ids.data<std::int32_t>()[i / 2]);
  const std::vector<float> means = HiddenStates{rows, tokens.offsets}.mean().to_vector();
  REQUIRE(means.size() == 40'000);
  CHECK(means[0] == 4.5f);
  CHECK(means[2 * 9'999] == 9.0f);
  CHECK(means.back() == 4.5f);
}

TEST_CASE("tokens a BERT has no rows for are refused", "[bert]") {
  const Bert model = hash_filled<Bert>(small_bert);
  CHECK(throws_with([&] { model(hash_tokens(60, {21})); }, "expected texts of at most 20 tokens, got one of 21"));
  CHECK(throws_with([&] { model(Tokens::pack(std::vector<std::vector<std::int32_t>>{{60}})); }, "60"));
  CHECK(model(Tokens::pack({})).cls().shape() == Shape{0, 32});
}

}  // namespace
}  // namespace clip
