#include "clip/models/resnet.hpp"

#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/pool.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

const ResNetConfig small_basic = {.bottleneck = false, .depths = {1, 2}, .widths = {8, 16}, .stem = 8};
const ResNetConfig small_bottleneck = {.depths = {2, 1}, .widths = {16, 32}, .stem = 8};
const ResNetConfig resnet18 = {
    .bottleneck = false, .depths = {2, 2, 2, 2}, .widths = {64, 128, 256, 512}, .classes = 1000};
const ResNetConfig resnet50 = {.classes = 1000};
const ResNetConfig timm_resnet = {.depths = {1, 2, 1, 1}, .widths = {32, 64, 96, 128}, .classes = 10};

void check_small(const ResNetConfig& config, const std::string& name, Mode mode, const Device& device) {
  INFO(name << " on " << device);
  const SafeTensors expected = golden(name + (mode == Mode::training ? "_training" : "_inference"));
  ResNet model = hash_filled<ResNet>(config, device);
  requires_grad(model);
  const Tensor x = hash_images(3, 33, device).requires_grad();
  const Tensor features = model(x, mode);
  CHECK(compare(features, expected.read("features")).relative < 1e-5);
  backward(sum(features * to(hash_tensor("dy", features.shape()), device)));
  CHECK(compare(x.grad(), expected.read("grad.images")).relative < 1e-4);
  for (const Member& member : members(model)) {
    INFO(member.name);
    if (member.trainable)
      CHECK(compare(member.tensor->grad(), expected.read("grad." + member.name)).relative < 1e-4);
    else if (mode == Mode::training)
      CHECK(compare(*member.tensor, expected.read(member.name)).relative < 1e-5);
  }
  if (mode == Mode::training) return;
  CHECK(compare(model.folded()(x.detach()), expected.read("features")).relative < 1e-5);
  CHECK(compare(model.folded(dtype::bf16)(x.detach()), expected.read("features")).cosine > 0.999);
}

TEST_CASE("small ResNets have the reference's values and gradients, in inference and in training", "[resnet]") {
  for (const Device& device : devices())
    for (const Mode mode : {Mode::inference, Mode::training}) {
      check_small(small_basic, "resnet_basic", mode, device);
      check_small(small_bottleneck, "resnet_bottleneck", mode, device);
    }
}

TEST_CASE("a mirrored ResNet gives the mean of a picture's features and its mirror image's, but not in training",
          "[resnet]") {
  ResNetConfig config = small_basic;
  config.mirrored = true;
  for (const Device& device : devices()) {
    ResNet plain = hash_filled<ResNet>(small_basic, device), mirrored = hash_filled<ResNet>(config, device);
    const Tensor x = hash_images(3, 33, device);
    const std::vector<float> from = x.to_vector();
    std::vector<float> reversed;
    for (std::size_t row = 0; row < from.size(); row += std::size_t{33} * 3)
      for (std::size_t i = 33; i-- > 0;)
        for (std::size_t c = 0; c < 3; ++c) reversed.push_back(from[row + 3 * i + c]);
    const std::vector<float> a = plain(x).to_vector(), b = plain(Tensor::from(reversed, x.shape(), device)).to_vector();
    std::vector<float> mean;
    for (std::size_t i = 0; i < a.size(); ++i) mean.push_back((a[i] + b[i]) / 2);
    CHECK(compare(mirrored(x), Tensor::from(mean, {3, 16})).relative < 1e-6);
    CHECK(compare(mirrored.folded()(x), Tensor::from(mean, {3, 16})).relative < 1e-5);
    CHECK(mirrored(x, Mode::training).to_vector() == plain(x, Mode::training).to_vector());
  }
}

void check_whole(const ResNetConfig& config, const std::string& name, std::int64_t size) {
  const SafeTensors expected = golden(name);
  const NoGrad guard;
  const ResNet model = hash_filled<ResNet>(config);
  const Tensor x = hash_images(2, size);
  ResNet apart = model, folded = model.folded(), bf16 = model.folded(dtype::bf16);
  for (ResNet* m : {&apart, &folded, &bf16}) {
    const bool f32 = m != &bf16;
    Tensor y = max_pool2d(m->stem(to(x, m->stem.conv.weight.dtype()), Mode::inference, Activation::relu),
                          {.kernel = 3, .stride = 2, .padding = 1});
    for (std::size_t i = 0; i < m->stages.size(); ++i) {
      for (ResNetBlock& block : m->stages[i]) y = block(y, Mode::inference);
      const Difference d = compare(global_avg_pool(y), expected.read("stage." + std::to_string(i + 1)));
      CHECK(d.relative < (f32 ? 1e-5 : 2e-2));
    }
    const Difference d = compare(m->logits(x), expected.read("logits"));
    CHECK(d.relative < (f32 ? 1e-4 : 5e-2));
    CHECK(d.cosine > (f32 ? 0.999999 : 0.999));
  }
}

TEST_CASE("whole ResNets have the reference's values, folded and not, in f32 and bf16", "[resnet][full]") {
  check_whole(timm_resnet, "resnet_timm", 65);
  check_whole(resnet18, "resnet18", 224);
  check_whole(resnet50, "resnet50", 224);
}

TEST_CASE("a ResNet loads from a folder", "[resnet]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  ResNetConfig config = small_bottleneck;
  config.classes = 5;
  ResNet model = hash_filled<ResNet>(config);
  folder.write("config.json", R"({"model_type": "resnet", "depths": [2, 1], "hidden_sizes": [16, 32],
                                  "embedding_size": 8, "layer_type": "bottleneck"})");
  save(model, folder / "model.safetensors");
  const Tensor x = hash_images(2, 32);
  CHECK(compare(ResNet::load(folder.path()).logits(x), model.logits(x)).relative == 0);
  for (const Device& device : devices())
    CHECK(compare(ResNet::load(folder.path(), device).logits(to(x, device)), model.logits(x)).relative < 1e-5);
  model.classifier.reset();
  save(model, folder / "model.safetensors");
  ResNet headless = ResNet::load(folder.path());
  CHECK(compare(headless(x), model(x)).relative == 0);
  CHECK(throws_with([&] { headless.logits(x); }, "has no classifier"));
  model.stages[0][1].third->norm.running_var = ones({15});
  save(model, folder / "model.safetensors");
  CHECK(throws_with([&] { ResNet::load(folder.path()); }, "layer1.1.bn3.running_var is [15], expected [16]"));
  folder.write("config.json", R"({"model_type": "resnet", "depths": [2, 1], "hidden_sizes": [16, 65536]})");
  CHECK(throws_with([&] { ResNet::load(folder.path()); }, "config.json' describes a model of "));
}

TEST_CASE("a ResNet knows how many numbers its weights are", "[resnet]") {
  ResNetConfig with_classes = small_bottleneck;
  with_classes.classes = 5;
  for (const ResNetConfig& config : {small_basic, small_bottleneck, with_classes, resnet18, resnet50, timm_resnet}) {
    ResNet model(config, Init::none());
    std::int64_t count = 0;
    for (const Member& member : members(model)) count += member.tensor->numel();
    CHECK(config.parameters() == count);
  }
}

TEST_CASE("impossible configurations of ResNet are refused by name", "[resnet]") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& depths, const std::string& rest, const std::string& message) {
    folder.write("config.json",
                 R"({"model_type": "resnet", "hidden_sizes": [16, 32], "depths": )" + depths + rest + "}");
    return throws_with([&] { ResNetConfig::read(folder.path()); }, message);
  };
  CHECK(refused("[1]", "", "'hidden_sizes'"));
  CHECK(refused("[]", "", "'depths'"));
  CHECK(refused("[1, 0]", "", "'depths'"));
  CHECK(refused("[1, 2.5]", "", "'depths'"));
  CHECK(refused("3", "", "'depths'"));
  CHECK(refused("[1, 1]", R"(, "reduction": 5)", "'hidden_sizes'"));
  CHECK(refused("[1, 1]", R"(, "layer_type": "wide")", "'layer_type'"));
  CHECK(refused("[1, 1]", R"(, "hidden_act": "gelu")", "'hidden_act'"));
  CHECK(refused("[1, 1]", R"(, "mirrored": "yes")", "'mirrored'"));
  CHECK(refused("[1, 1]", R"(, "downsample_in_bottleneck": true)", "'downsample_in_bottleneck'"));
}

TEST_CASE("images a ResNet cannot take are refused", "[resnet]") {
  ResNet model = hash_filled<ResNet>(small_basic);
  CHECK(throws_with([&] { model(zeros({1, 32, 32, 4})); }, "expected images [N, H, W, 3], got [1, 32, 32, 4]"));
  CHECK(throws_with([&] { model(zeros({32, 32, 3})); }, "expected images [N, H, W, 3]"));
  CHECK(throws_with([&] { model.folded()(zeros({1, 8, 8, 3}), Mode::training); }, "folded"));
  CHECK(model(zeros({0, 32, 32, 3})).shape() == Shape{0, 16});
  CHECK(model(zeros({1, 1, 1, 3})).shape() == Shape{1, 16});
}

}  // namespace
}  // namespace clip
