#include "clip/train/optimizer.hpp"

#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/graph.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/train/running_average.hpp"
#include "clip/train/schedule.hpp"
#include "tests/models/hash_weights.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// What tests/reference/training.py wrote.
Tensor golden(const std::string& name) { return SafeTensors::open(test_data("train/training.safetensors")).read(name); }

Tensor hashed(const std::string& name, const Device& device) {
  return Tensor::from(hash_uniform(name, 37), {37}, device);
}

/// The two groups and the gradients of the reference.
struct Run {
  Device device;
  Tensor first = hashed("first", device).requires_grad(), second = hashed("second", device).requires_grad();
  AdamW optimizer{std::vector<AdamW::Group>{{{first}, {.lr = 1e-2, .weight_decay = 0.1}},
                                            {{second}, {.lr = 3e-3, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3}}}};

  void step(int index) {
    for (const Tensor* parameter : {&first, &second}) {
      if (index == 4 && parameter == &second) continue;
      std::vector<float> gradient =
          hash_uniform((parameter == &first ? "first." : "second.") + std::to_string(index), 37);
      for (float& g : gradient) g *= static_cast<float>(std::pow(10.0, index - 3));
      parameter->set_grad(Tensor::from(gradient, {37}, device));
    }
    optimizer.step(2.0);
  }
};

void check_close(const Tensor& result, const Tensor& expected) {
  const auto x = result.to_vector(), y = expected.to_vector();
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(x[i] == Approx(y[i]).epsilon(2e-6).margin(1e-8));
}

}  // namespace

TEST_CASE("AdamW does as PyTorch's, and clips as clip_grad_norm_, on every device", "[train]") {
  for (const Device& device : devices()) {
    INFO(device);
    Run run{.device = device};
    for (int i = 0; i < 7; ++i) run.step(i);
    check_close(run.first, golden("adamw.first"));
    check_close(run.second, golden("adamw.second"));
    CHECK_FALSE(run.first.grad().defined());
  }
}

TEST_CASE("AdamW goes on bit by bit from a saved state", "[train]") {
  const TemporaryFolder folder;
  Run whole, before, after;
  for (int i = 0; i < 7; ++i) whole.step(i);
  for (int i = 0; i < 3; ++i) before.step(i);
  before.optimizer.set_lr(0.1 / 3, 1);
  std::map<std::string, Tensor> saved;
  for (const NamedTensor& one : before.optimizer.state()) saved[one.name] = one.tensor.clone();
  after.first.copy_from(before.first);
  after.second.copy_from(before.second);
  after.optimizer.load_state(saved);
  CHECK(after.optimizer.lr(1) == 0.1 / 3);
  after.optimizer.set_lr(3e-3, 1);
  for (int i = 3; i < 7; ++i) after.step(i);
  CHECK(after.first.to_vector() == whole.first.to_vector());
  CHECK(after.second.to_vector() == whole.second.to_vector());

  const Tensor other = zeros({4}).requires_grad();
  AdamW different({other});
  CHECK(throws_with([&] { different.load_state(saved); },
                    "[AdamW] expected adamw.lr i64 [1] in the saved state, got i64 [2]"));
}

TEST_CASE("steps and averages that a graph recorded go on as they would without, by the rates of their day",
          "[train]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    struct Model {
      Tensor first, second, mean;
      AdamW optimizer;
      RunningAverage average;
      Tensor rest = Tensor::of(0, dtype::f32, first.device());

      explicit Model(const Device& on)
          : first(hashed("first", on).requires_grad()),
            second(hashed("second", on).requires_grad()),
            mean(hashed("mean", on)),
            optimizer(std::vector<AdamW::Group>{{{first}, {.lr = 1}}, {{second}, {.lr = 2, .beta1 = 0.5}}}),
            average({mean}, {first.detach()}) {}
      void set_rates(int step) {
        optimizer.set_lr(0.01 / step, 0);
        optimizer.set_lr(step < 3 ? 0.02 : 0.01, 1);
        rest.copy_from(Tensor::of(1.0 / step));
      }
      void step() {
        backward(sum(first * first * second));
        optimizer.step(0.5);
        average.update(rest);
      }
    };
    Model eager(device), replayed(device);
    std::optional<Graph> graph;
    for (int step = 1; step <= 5; ++step) {
      eager.set_rates(step);
      eager.step();
      replayed.set_rates(step);
      if (step == 2) graph.emplace(device, [&] { replayed.step(); });
      graph ? graph->replay() : replayed.step();
    }
    CHECK(replayed.first.to_vector() == eager.first.to_vector());
    CHECK(replayed.second.to_vector() == eager.second.to_vector());
    CHECK(replayed.mean.to_vector() == eager.mean.to_vector());
    for (const char* name : {"adamw.0.step", "adamw.1.step"})
      for (const NamedTensor& one : replayed.optimizer.state())
        if (one.name == name) CHECK(one.tensor.item<std::int64_t>() == 5);
  }
}

TEST_CASE("AdamW updates many tensors the same for any number of threads", "[train][threads]") {
  const auto updated = [](int threads) {
    const int before = num_threads();
    set_num_threads(threads);
    std::vector<Tensor> parameters;
    for (const std::int64_t size : {1, 70'001, 64, 33, 200'000})
      parameters.push_back(Tensor::from(hash_uniform(std::to_string(size), size), {size}).requires_grad());
    AdamW optimizer(parameters);
    for (int step = 0; step < 3; ++step) {
      for (const Tensor& p : parameters) p.set_grad(p.clone());
      optimizer.step(1);
    }
    set_num_threads(before);
    std::vector<std::vector<float>> values;
    for (const Tensor& p : parameters) values.push_back(p.to_vector());
    return values;
  };
  const auto one = updated(1);
  CHECK(updated(2) == one);
  CHECK(updated(5) == one);
}

TEST_CASE("AdamW refuses parameters it cannot train", "[train]") {
  const Tensor leaf = zeros({2}).requires_grad();
  CHECK(throws_with([] { AdamW({zeros({2})}); }, "got a constant [2]: call requires_grad(module) first"));
  CHECK(throws_with([] { AdamW({zeros({2}, dtype::bf16).requires_grad()}); },
                    "expected parameters in f32, got bf16 [2]"));
  CHECK(throws_with([&] { AdamW({leaf, leaf}); }, "[AdamW] expected every parameter once, got one [2] twice"));
  CHECK(throws_with([&] { AdamW({leaf}, {.lr = -1}); }, "[AdamW] expected lr >= 0, got -1"));
  CHECK(throws_with([&] { AdamW({leaf}, {.beta2 = 1}); }, "[AdamW] expected betas in [0, 1), got 0.9 and 1"));
}

TEST_CASE("ReduceLROnPlateau lowers the rates when PyTorch's does", "[train]") {
  const Tensor a = zeros({1}).requires_grad(), b = zeros({1}).requires_grad();
  AdamW optimizer(std::vector<AdamW::Group>{{{a}, {.lr = 1e-3}}, {{b}, {.lr = 3e-8}}});
  ReduceLROnPlateau plateau{.factor = 0.8, .patience = 1};
  const auto losses = golden("plateau.losses").to_vector(), rates = golden("plateau.rates").to_vector();
  for (std::size_t i = 0; i < losses.size(); ++i) {
    plateau.step(losses[i], optimizer);
    INFO("epoch " << i);
    CHECK(optimizer.lr(0) == Approx(rates[2 * i]).epsilon(1e-6));
    CHECK(optimizer.lr(1) == Approx(rates[2 * i + 1]).epsilon(1e-6));
  }
}

TEST_CASE("WarmupCosine rises linearly and falls as half a cosine", "[train]") {
  const WarmupCosine rate{.warmup = 4, .total = 12, .floor = 0.1};
  CHECK(rate(0) == 0.25);
  CHECK(rate(3) == 1);
  CHECK(rate(4) == 1);
  CHECK(rate(6) == Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2));
  CHECK(rate(8) == Approx(0.55));
  CHECK(rate(12) == 0.1);
  CHECK(rate(1000) == 0.1);
  CHECK(WarmupCosine{.warmup = 0, .total = 0}(0) == 0);
  CHECK(throws_with([] { WarmupCosine{.warmup = 5, .total = 4}(0); },
                    "[WarmupCosine] expected 0 <= warmup <= total steps"));
}
