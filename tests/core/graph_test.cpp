#include "clip/core/graph.hpp"

#include <cmath>
#include <optional>

#include "clip/autograd.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/conv2d.hpp"
#include "clip/ops/linear.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

std::vector<Device> gpus() {
  std::vector<Device> all;
  for (const Device& device : devices())
    if (device.is_cuda()) all.push_back(device);
  return all;
}

Tensor numbers(const Shape& shape, std::uint64_t salt, const Device& device) {
  return to_tensor(random_array(shape, -1, 1, salt), dtype::f32, device);
}

/// Two layers with weights to train.
struct Network {
  Tensor w1, b1, w2;
  explicit Network(const Device& device)
      : w1(numbers({24, 10}, 1, device).requires_grad()),
        b1(numbers({24}, 2, device).requires_grad()),
        w2(numbers({5, 24}, 3, device).requires_grad()) {}

  /// The loss, after which the weights have gradients.
  Tensor step(const Tensor& x) {
    for (const Tensor* w : {&w1, &b1, &w2}) w->set_grad({});
    const Tensor y = linear(gelu(linear(x, w1, b1)), w2);
    const Tensor loss = mean(y * y);
    backward(loss);
    return loss;
  }
};

}  // namespace

TEST_CASE("a graph does nothing before it is replayed, then what was recorded, on new inputs", "[core]") {
  for (const Device& device : gpus()) {
    Tensor x = numbers({3, 7}, 1, device), written = zeros({3, 7}, dtype::f32, device);
    const auto work = [&] {
      const Tensor y = exp(x) + full({3, 7}, 0.5, dtype::f32, device);
      written.copy_from(relu(y - x));
      return y;
    };
    work();
    written.fill(-1);
    Tensor y;
    const Graph graph(device, [&] { y = work(); });
    CHECK(written.to_vector() == std::vector<float>(21, -1));
    for (const unsigned salt : {5u, 6u, 7u}) {
      const Tensor fresh = numbers({3, 7}, salt, device);
      x.copy_from(fresh);
      const std::vector<float> expected = work().to_vector(), and_written = written.to_vector();
      written.fill(0);
      graph.replay();
      CHECK(y.to_vector() == expected);
      CHECK(written.to_vector() == and_written);
    }
  }
}

TEST_CASE("a graph of forward and backward leaves the gradients that running it does", "[core]") {
  for (const Device& device : gpus()) {
    Network eager(device), captured(device);
    Tensor x = numbers({6, 10}, 4, device);
    captured.step(x);
    Tensor loss;
    const Graph graph(device, [&] { loss = captured.step(x); });
    for (const unsigned salt : {8u, 9u}) {
      x.copy_from(numbers({6, 10}, salt, device));
      graph.replay();
      CHECK(loss.item() == eager.step(x).item());
      CHECK(captured.w1.grad().to_vector() == eager.w1.grad().to_vector());
      CHECK(captured.b1.grad().to_vector() == eager.b1.grad().to_vector());
      CHECK(captured.w2.grad().to_vector() == eager.w2.grad().to_vector());
    }
  }
}

TEST_CASE("what a graph only uses is taken again within it, and results outlive it", "[core]") {
  for (const Device& device : gpus()) {
    const Tensor x = numbers({100}, 1, device);
    Tensor kept;
    std::optional<Graph> graph;
    graph.emplace(device, [&] {
      const void *first = nullptr, *second = nullptr;
      {
        const Tensor y = x + x;
        first = y.raw();
      }
      {
        const Tensor y = x * x;
        second = y.raw();
      }
      CHECK(first == second);
      kept = x + x * x;
    });
    graph->replay();
    graph.reset();
    std::vector<float> expected = x.to_vector();
    for (float& v : expected) v = v + v * v;
    CHECK(kept.to_vector() == expected);
  }
}

TEST_CASE("a graph takes again what only another used, but not what is left of that", "[core]") {
  for (const Device& device : gpus()) {
    const Tensor x = numbers({100}, 1, device);
    const void* used = nullptr;
    Tensor left, left_too;
    const Graph first(device, [&] {
      left = x + x;
      const Tensor y = x * x;
      used = y.raw();
    });
    const Graph second(
        device,
        [&] {
          const Tensor y = x + x;
          CHECK(y.raw() == used);
          left_too = y * x;
        },
        &first);
    first.replay();
    second.replay();
    CHECK(left.to_vector() == (x + x).to_vector());
    CHECK(left_too.to_vector() == ((x + x) * x).to_vector());
    second.replay();
    first.replay();
    CHECK(left_too.to_vector() == ((x + x) * x).to_vector());
  }
}

TEST_CASE("memory from outside that is freed while a graph is recorded stays for its replays", "[core]") {
  for (const Device& device : gpus()) {
    Tensor x = numbers({50}, 1, device);
    const std::vector<float> expected = (x + x).to_vector();
    Tensor y;
    const Graph graph(device, [&] {
      y = x + x;
      x = Tensor();
    });
    const Tensor other = zeros({50}, dtype::f32, device);  // would take the memory
    graph.replay();
    CHECK(y.to_vector() == expected);
  }
}

TEST_CASE("memory of another graph that is freed while one is recorded stays for its replays", "[core]") {
  for (const Device& device : gpus()) {
    const Tensor x = numbers({50}, 1, device);
    const std::vector<float> expected = (x + x + x).to_vector();
    Tensor y, z;
    std::optional<Graph> first(std::in_place, device, [&] { y = x + x; });
    first->replay();
    const Graph second(device, [&] {
      z = y + x;
      y = {};
    });
    first.reset();
    second.replay();
    CHECK(z.to_vector() == expected);
  }
}

TEST_CASE("a graph may go while another is recorded", "[core]") {
  for (const Device& device : gpus()) {
    const Tensor x = numbers({50}, 1, device);
    Tensor y;
    std::optional<Graph> first(std::in_place, device, [&] { x + x; });
    first->replay();
    const Graph second(device, [&] {
      y = x + x;
      first.reset();
      y = y * x;
    });
    second.replay();
    CHECK(y.to_vector() == ((x + x) * x).to_vector());
  }
}

TEST_CASE("a replay counts as a write", "[core]") {
  for (const Device& device : gpus()) {
    Tensor w = numbers({4, 2, 3, 3}, 1, device), dw = numbers({4, 2, 3, 3}, 2, device);
    const Tensor x = numbers({1, 5, 5, 2}, 3, device);
    const Graph graph(device, [&] { w.copy_from(w + dw); });
    const Tensor before = conv2d(x, w);  // keeps a copy of w in another layout
    graph.replay();
    const Tensor after = conv2d(x, w);
    CHECK(after.to_vector() == conv2d(x, w.clone()).to_vector());
    CHECK(after.to_vector() != before.to_vector());

    Tensor leaf = numbers({3}, 4, device).requires_grad();
    const Tensor factor = numbers({3}, 5, device);
    const Graph writes(device, [&] { Tensor(factor).fill(2); });
    const Tensor y = leaf * factor;
    writes.replay();
    CHECK(throws_with([&] { backward(sum(y)); }, "written in place since"));
  }
}

TEST_CASE("a graph of a convolution sees weights written after it was recorded", "[core]") {
  for (const Device& device : gpus()) {
    CHECK(throws_with([&] { Graph::before_replay(device, [] {}); }, "[graph] expected a graph that is recorded on "));
    Tensor w = numbers({4, 2, 3, 3}, 1, device);
    const Tensor x = numbers({1, 5, 5, 2}, 3, device);
    conv2d(x, w);
    Tensor y;
    const Graph graph(device, [&] { y = conv2d(x, w); });
    w.copy_from(numbers({4, 2, 3, 3}, 7, device));
    conv2d(x, w);
    graph.replay();
    CHECK(y.to_vector() == conv2d(x, w).to_vector());
    const Tensor factor = numbers({4, 2, 3, 3}, 9, device);
    const Graph writes(device, [&] { w.copy_from(w * factor); });
    writes.replay();
    graph.replay();
    CHECK(y.to_vector() == conv2d(x, w).to_vector());
    Tensor between;
    const Graph both(device, [&] {
      w.copy_from(w * factor);
      between = conv2d(x, w);
      w.copy_from(w * factor);
    });
    Tensor expected = w * factor;
    for (int i = 0; i < 2; ++i) {
      both.replay();
      CHECK(between.to_vector() == conv2d(x, expected).to_vector());
      expected = expected * factor * factor;
    }
    graph.replay();
    CHECK(y.to_vector() == conv2d(x, w).to_vector());
  }
}

TEST_CASE("what waits or copies to the host can't be recorded", "[core]") {
  CHECK(throws_with([] { Graph(Device::cpu(), [] {}); }, "[graph] expected a GPU, got cpu"));
  for (const Device& device : gpus()) {
    const Tensor x = numbers({3}, 1, device);
    const auto refused = [&](const std::function<void()>& work, const std::string& why) {
      return throws_with([&] { Graph(device, work); },
                         "[graph] expected only launches while a graph is recorded, got " + why);
    };
    CHECK(refused([&] { device.synchronize(); }, "a wait for the GPU"));
    CHECK(refused([&] { (x + x).to_vector(); }, "a copy to the host"));
    CHECK(refused([&] { Tensor::of({1, 2}, dtype::f32, device); }, "a copy from the host"));
    CHECK(refused([&] { Graph(device, [] {}); }, "another graph"));
    const Graph other(device, [&] { x + x; });
    CHECK(refused([&] { other.replay(); }, "a replay of another"));
    CHECK(throws_with([&] { Graph(device, [] { fail("here", "of its own"); }); }, "[here] of its own"));
    const Device fresh = Device::cuda(0);
    const Tensor a = numbers({8, 8}, 1, fresh);
    CHECK(throws_with([&] { Graph(fresh, [&] { linear(a, a); }); },
                      "the first use of a library: run the work once before"));
    CHECK(throws_with(
        [&] {
          Graph(
              fresh, [&] { a + a; }, &other);
        },
        "got one of another device"));
    CHECK(std::isfinite(linear(a, a).to_vector()[63]));
    CHECK((x + x).to_vector()[0] == 2 * x.to_vector()[0]);  // nothing is left of what was refused
  }
}

TEST_CASE("work that comes again in a shape is recorded and replayed, on new inputs", "[core]") {
  for (const Device& device : devices()) {
    INFO(device);
    int calls = 0;
    Tensor w = numbers({5}, 1, device);
    Graphs graphs;
    // inputs come from the CPU; the second is none
    const auto check = [&](std::int64_t rows, std::int64_t number, unsigned salt, int calls_on_gpu) {
      INFO(rows << " rows, number " << number << ", numbers " << salt);
      const Tensor x = numbers({rows, 5}, salt, {});
      const int before = calls;
      const auto work = [&](const std::vector<Tensor>& in) {
        ++calls;
        CHECK(in[0].device() == device);
        CHECK(!in[1].defined());
        return std::vector{scale(in[0] * w, static_cast<float>(number)), Tensor::of(7)};
      };
      const std::vector<Tensor> results = graphs(device, {x, {}}, work, number);
      CHECK(results[0].to_vector() == scale(x * to(w, Device::cpu()), static_cast<float>(number)).to_vector());
      CHECK(results[1].item() == 7);
      CHECK(calls - before == (device.is_cpu() ? 1 : calls_on_gpu));
      return results[0];
    };
    check(3, 1, 2, 1);
    const Tensor recorded = check(3, 1, 3, 1);
    const std::vector<float> values = recorded.to_vector();
    check(3, 1, 4, 0);
    check(2, 1, 5, 1);
    check(3, 2, 6, 1);
    CHECK(graphs.size() == 0);  // dropped for the new shapes
    check(2, 1, 7, 1);
    check(3, 2, 8, 1);
    check(3, 1, 9, 1);
    w.copy_from(numbers({5}, 10, device));  // weights that moved
    check(2, 1, 11, 0);
    check(3, 2, 12, 0);
    check(3, 1, 13, 0);
    CHECK(recorded.to_vector() == values);  // not the graph's to write to

    graphs = Graphs(graphs);
    check(3, 1, 14, 1);
    check(3, 1, 15, 1);
    check(3, 1, 16, 0);
  }
}

TEST_CASE("graphs are limited in number", "[core]") {
  for (const Device& device : gpus()) {
    Graphs graphs;
    int calls = 0;
    const auto work = [&](const std::vector<Tensor>& in) {
      ++calls;
      return std::vector{in[0] + in[0]};
    };
    const auto twice = [&](std::int64_t rows) {
      const Tensor x = numbers({rows}, 1, device);
      CHECK(graphs(device, {x}, work)[0].to_vector() == (x + x).to_vector());
      return graphs.size();
    };
    for (int rows = 0; rows <= Graphs::most; ++rows) CHECK(twice(rows) == 0);
    for (int rows = 0; rows < Graphs::most; ++rows) CHECK(twice(rows) == rows + 1);
    CHECK(twice(Graphs::most) == 1);
    CHECK(calls == 2 * (Graphs::most + 1));
  }
}

TEST_CASE("work that failed is not recorded the next time, but tried again", "[core]") {
  for (const Device& device : gpus()) {
    Graphs graphs;
    bool fails = true;
    const auto work = [&](const std::vector<Tensor>& in) {
      check(!fails, "here", "of its own");
      return std::vector{Tensor::of(in[0].to_vector()[0])};  // waits: can't be recorded
    };
    const Tensor x = numbers({3}, 1, device);
    CHECK(throws_with([&] { graphs(device, {x}, work); }, "[here] of its own"));
    fails = false;
    CHECK(graphs(device, {x}, work)[0].item() == x.to_vector()[0]);
    CHECK(throws_with([&] { graphs(device, {x}, work); }, "a copy to the host"));
  }
}
