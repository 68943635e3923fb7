// Whole models recorded in graphs. Whatever waits while one is recorded is an error, so these tests also show that
// models run forward and backward without waiting for the GPU.
#include "clip/core/graph.hpp"

#include <vector>

#include "clip/autograd.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

namespace clip {
namespace {

using namespace clip::test;

const BertConfig small_distilbert = {
    .vocab_size = 60, .max_positions = 20, .token_types = 0, .size = 32, .feed_forward = 48, .layers = 2, .heads = 4};
const ResNetConfig small_resnet = {.bottleneck = true, .depths = {2, 1}, .widths = {16, 32}, .stem = 8};
const ClipConfig small_clip = {.text = {.size = 32, .feed_forward = 48, .layers = 2, .heads = 4},
                               .vision = {.size = 24, .feed_forward = 40, .layers = 2, .heads = 2},
                               .vocab_size = 60,
                               .context = 20,
                               .end_id = 59,
                               .image_size = 32,
                               .patch = 8,
                               .projection = 16};

/// Other texts with as many tokens, in the same tensors.
void replace(Tokens& tokens, const Tokens& by) {
  tokens.ids.copy_from(by.ids);
  tokens.offsets.copy_from(by.offsets);
  tokens.positions.copy_from(by.positions);
  if (tokens.ends.defined()) tokens.ends.copy_from(by.ends);
}

/// Replays equal running `work`, on first inputs and on others.
void check_inference(const Device& device, const std::function<std::vector<Tensor>()>& work,
                     const std::function<void()>& change_inputs) {
  const NoGrad guard;
  std::vector<Tensor> results;
  work();
  const Graph graph(device, [&] { results = work(); });
  for (int round = 0; round < 2; ++round) {
    const std::vector<Tensor> expected = work();
    graph.replay();
    REQUIRE(results.size() == expected.size());
    for (std::size_t i = 0; i < results.size(); ++i)
      CHECK(to(results[i], dtype::f32).to_vector() == to(expected[i], dtype::f32).to_vector());
    change_inputs();
  }
}

}  // namespace

TEST_CASE("a DistilBERT in a graph computes what it does outside", "[graph]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    const DistilBert model = hash_filled<DistilBert>(small_distilbert, device);
    Tokens tokens = hash_tokens(60, {7, 1, 12}, device);
    check_inference(
        device,
        [&] {
          return std::vector{model.cls(tokens), model(tokens).mean()};
        },
        [&] {
          replace(tokens, hash_tokens(59, {12, 3, 5}, device));
        });
  }
}

TEST_CASE("a ResNet in a graph computes what it does outside", "[graph]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    ResNet model = hash_filled<ResNet>(small_resnet, device);
    ResNet half = model.folded(dtype::bf16);
    Tensor images = hash_images(2, 33, device);
    check_inference(
        device,
        [&] {
          return std::vector{model(images), half(images)};
        },
        [&] { images.copy_from(to(hash_tensor("others", images.shape()), device)); });
  }
}

TEST_CASE("a CLIP in a graph computes what it does outside", "[graph]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    const Clip model = hash_filled<Clip>(small_clip, device);
    Tokens tokens = model.text.cut(end_tokens(60, {7, 2, 12}, {6, 1, 8}), device);
    CHECK(tokens.ids.device() == device);
    Tensor images = hash_images(2, 32, device);
    check_inference(
        device,
        [&] {
          return std::vector{model.embed_texts(tokens), model.embed_images(images)};
        },
        [&] {
          replace(tokens, model.text.cut(end_tokens(60, {5, 9, 6}, {3, 8, 4}), device));
          images.copy_from(to(hash_tensor("others", images.shape()), device));
        });
  }
}

TEST_CASE("a graph of a DistilBERT's forward and backward leaves the gradients that running it does", "[graph]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    DistilBert model = hash_filled<DistilBert>(small_distilbert, device);
    requires_grad(model);
    Tokens tokens = hash_tokens(60, {7, 1, 12}, device);
    const auto step = [&] {
      for (const Member& member : members(model)) member.tensor->set_grad({});
      const HiddenStates states = model(tokens);
      const Tensor loss = sum(states.mean() * states.cls());
      backward(loss);
      return loss;
    };
    step();
    Tensor loss;
    std::vector<Tensor> recorded;
    const Graph graph(device, [&] {
      loss = step();
      for (const Member& member : members(model)) recorded.push_back(member.tensor->grad());
    });
    replace(tokens, hash_tokens(59, {12, 3, 5}, device));
    const float expected = step().item();
    graph.replay();
    CHECK(loss.item() == expected);
    std::size_t i = 0;
    for (const Member& member : members(model)) {
      INFO(member.name);
      CHECK(recorded[i++].to_vector() == member.tensor->grad().to_vector());
    }
  }
}

}  // namespace clip
