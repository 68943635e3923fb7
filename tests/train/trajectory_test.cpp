// The recipe's first 50 steps beside PyTorch's: both heads on features, soft-target loss, AdamW.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/nn/projection_head.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/train/optimizer.hpp"
#include "tests/models/hash_weights.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"

using namespace clip;
using namespace clip::test;

namespace {

struct Heads {
  ProjectionHead text{768, 256, Init::none()}, image{2048, 256, Init::none()};
  void visit(auto&& v) {
    v("text_projection", text);
    v("image_projection", image);
  }
};

/// As tests/reference/training.py makes them.
Tensor features(const std::string& name, std::int64_t rows, std::int64_t size) {
  std::vector<float> values = hash_uniform(name, rows * size);
  const std::vector<float> common = hash_uniform(name + ".common", size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = common[i % common.size()] + values[i] * 0.5f;
  return Tensor::from(values, {rows, size});
}

}  // namespace

TEST_CASE("50 steps of training have the losses of PyTorch's", "[train]") {
  constexpr std::int64_t batch = 32, batches = 10;
  const auto expected = SafeTensors::open(test_data("train/training.safetensors")).read("trajectory").to_vector();
  const Tensor text = features("text_features", batches * batch, 768);
  const Tensor image = features("image_features", batches * batch, 2048);
  Heads heads;
  hash_fill(heads);
  requires_grad(heads);
  CHECK(count_parameters(heads) == 854'016);
  AdamW optimizer(parameters(heads), {.lr = 1e-3, .weight_decay = 1e-3});
  for (std::size_t step = 0; step < expected.size(); ++step) {
    const std::int64_t first = static_cast<std::int64_t>(step) % batches * batch;
    const Tensor loss = soft_target_loss(heads.text(text.view(first * 768, {batch, 768})),
                                         heads.image(image.view(first * 2048, {batch, 2048})));
    backward(loss);
    optimizer.step();
    INFO("step " << step);
    CHECK(std::abs(loss.item() - expected[step]) <= 1e-4f);
  }
}
