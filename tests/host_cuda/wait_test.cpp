// What the host waits for, as the host executor counts it: not for launches, uploads and checks of indices.
#include <numeric>

#include "clip/autograd.hpp"
#include "clip/core/graph.hpp"
#include "clip/nn/projection_head.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/attention.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/ops/conv2d.hpp"
#include "clip/ops/cross_entropy.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/gather.hpp"
#include "clip/ops/layer_norm.hpp"
#include "clip/ops/linear.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "clip/ops/view.hpp"
#include "clip/train/optimizer.hpp"
#include "tests/host_cuda/stream.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Tensor numbers(const Shape& shape, std::uint64_t salt, const Device& device) {
  return to_tensor(random_array(shape, -1, 1, salt), dtype::f32, device);
}

template <class Work>
int waits_in(const Work& work) {
  const int before = host_cuda::waits;
  work();
  return host_cuda::waits - before;
}

}  // namespace

TEST_CASE("forward and backward, with the uploads of a batch, wait for nothing", "[host_cuda]") {
  const Device device = Device::cuda();
  const Tensor table = numbers({11, 8}, 1, device).requires_grad(), w = numbers({8, 8}, 2, device).requires_grad();
  const Tensor scale = ones({8}, dtype::f32, device).requires_grad(), bias = zeros({8}, dtype::f32, device);
  const auto step = [&] {
    const Tensor ids = Tensor::from(std::vector<std::int32_t>{1, 2, 3, 4, 10, 0}, {6}, device);
    const Tensor offsets = to(Tensor::of({0, 2, 6}, dtype::i32), device),
                 classes = Tensor::of({3, 7}, dtype::i64, device);
    const Tensor x = reshape(linear(embedding(table, ids), w), {6, 2, 4});
    const Tensor y = attention(x, x, x, {.offsets = offsets, .longest = 4});
    const Tensor rows = layer_norm(reshape(y, {6, 8}), scale, bias);
    const Tensor pooled = embedding(rows, slice(offsets, 0, 2));
    const Tensor picked = gather(softmax(pooled), 1, Tensor::of({{0, 1}, {2, 2}}, dtype::i32, device));
    const Tensor loss = cross_entropy(pooled, classes) + mean(picked) + sum(w * w) + full({}, 0.5, dtype::f32, device);
    backward(loss);
    return loss;
  };
  CHECK(waits_in([&] { step(); }) == 0);
  Tensor loss;
  CHECK(waits_in([&] { loss = step(); }) == 0);
  CHECK(waits_in([&] { loss.item(); }) == 1);
  CHECK(waits_in([&] { device.synchronize(); }) == 1);
}

TEST_CASE("the source of an upload may change at once", "[host_cuda]") {
  const Device device = Device::cuda();
  std::vector<std::int32_t> values(1000);
  std::vector<Tensor> uploaded;
  CHECK(waits_in([&] {
          for (int i = 0; i < 5; ++i) {
            std::iota(values.begin(), values.end(), 1000 * i);
            uploaded.push_back(Tensor::from(values, {1000}, device));
          }
          values.assign(1000, -1);
        }) == 0);
  for (std::size_t i = 0; i < 5; ++i) {
    std::iota(values.begin(), values.end(), static_cast<std::int32_t>(1000 * i));
    CHECK(uploaded[i].to_vector<std::int32_t>() == values);
  }
}

TEST_CASE("uploads beyond the pinned memory wait for it to be free", "[host_cuda]") {
  const Device device = Device::cuda();
  constexpr std::int64_t half = 64 << 20;
  const auto bytes = [](std::int64_t count, std::uint8_t byte) {
    return std::vector<std::uint8_t>(static_cast<std::size_t>(count), byte);
  };
  Tensor first, second, third;
  CHECK(waits_in([&] {
          first = Tensor::from(bytes(half - 100, 1), {half - 100}, device);
          second = Tensor::from(bytes(half, 2), {half}, device);
        }) == 0);
  CHECK(waits_in([&] { third = Tensor::from(bytes(half, 3), {half}, device); }) == 1);
  CHECK(first.to_vector<std::uint8_t>() == bytes(half - 100, 1));
  CHECK(second.to_vector<std::uint8_t>() == bytes(half, 2));
  CHECK(third.to_vector<std::uint8_t>() == bytes(half, 3));
}

TEST_CASE("an upload that found no pinned memory says how much, and can be tried again", "[host_cuda]") {
  const Device device = Device::cuda();
  host_cuda::no_pinned_memory = true;
  for (int i = 0; i < 2; ++i)
    CHECK(throws_with([&] { Tensor::of({1, 2}, dtype::f32, device); }, "[cuda] allocating 67108864 bytes of pinned "));
  CHECK(throws_with([&] { device.index_faults(); }, " bytes of pinned memory: "));
  host_cuda::no_pinned_memory = false;
  CHECK(Tensor::of({1, 2}, dtype::f32, device).to_vector() == std::vector<float>{1, 2});
}

TEST_CASE("a step of training heads on features is few launches", "[host_cuda]") {
  const Device device = Device::cuda();
  /// Launches, fills and copies.
  const auto launches = [&](const auto& work) {
    work();
    std::size_t count = 0;
    const Graph graph(device, [&] {
      work();
      count = host_cuda::recording_of(static_cast<cudaStream_t>(device.stream()))->work.size();
    });
    return count;
  };
  Random random(1);
  const auto head = [&](std::int64_t in, std::int64_t out, dtype type) {
    ProjectionHead all(in, out, random);
    for (const Member& member : members(all)) *member.tensor = to(to(*member.tensor, type), device);
    requires_grad(all);
    return all;
  };
  ProjectionHead text = head(24, 16, dtype::f32), image = head(40, 16, dtype::f32);
  const Tensor texts = numbers({32, 24}, 1, device), images = numbers({32, 40}, 2, device);
  const auto forward = [&] { return soft_target_loss(text(texts), image(images)); };
  const auto step = [&] {
    for (ProjectionHead* const one : {&text, &image})
      for (const Tensor& weight : parameters(*one)) weight.set_grad({});
    backward(forward());
  };
  CHECK(launches([&] { text(texts); }) == 4);
  CHECK(launches(forward) == 13);
  CHECK(launches(step) == 27);
  std::vector<Tensor> weights = parameters(text);
  for (const Tensor& weight : parameters(image)) weights.push_back(weight);
  AdamW optimizer(weights);
  const auto with_optimizer = [&] {
    step();
    optimizer.step();
  };
  CHECK(launches(with_optimizer) == 27 + 3);
  const NoGrad guard;
  CHECK(launches(forward) == 11);

  const ProjectionHead light = head(24, 16, dtype::bf16), heavy = head(1032, 256, dtype::bf16);
  CHECK(launches([&, x = to(texts, dtype::bf16)] { light(x); }) == 2 + 1);  // two widen norm's
  CHECK(launches([&, x = zeros({3, 1032}, dtype::bf16, device)] { heavy(x); }) == 2 + 4);
}

TEST_CASE("a convolution whose weights are not trained does not turn them in a graph", "[host_cuda]") {
  const Device device = Device::cuda();
  Tensor w = numbers({4, 2, 3, 3}, 1, device);
  const Tensor x = numbers({1, 5, 5, 2}, 2, device);
  const auto launches = [&] {
    const NoGrad guard;
    conv2d(x, w);
    std::size_t count = 0;
    const Graph graph(device, [&] {
      conv2d(x, w);
      count = host_cuda::recording_of(static_cast<cudaStream_t>(device.stream()))->work.size();
    });
    return count;
  };
  const std::size_t kept = launches();
  w.requires_grad();
  CHECK(launches() == kept + 1);
}
