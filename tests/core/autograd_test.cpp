#include "clip/autograd.hpp"

#include <iostream>

#include "clip/core/random.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/view.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/sanitized.hpp"

using namespace clip;
using clip::test::throws_with;

namespace {

/// An op as a user would write one outside the library.
Tensor cube(const Tensor& x) {
  const Tensor y = [&] {
    const NoGrad guard;
    return mul(x, mul(x, x));
  }();
  return record("cube", y, {x}, [x](const Tensor& dy) { return Grads{scale(mul(dy, mul(x, x)), 3)}; });
}

}  // namespace

TEST_CASE("backward adds the gradients of all paths to the leaves", "[autograd]") {
  const Tensor x = Tensor::of({1, 2, 3}).requires_grad();
  const Tensor y = mul(x, x);        // shared below
  backward(sum(add(mul(y, x), y)));  // x^3 + x^2
  CHECK(x.grad().to_vector() == std::vector<float>{5, 16, 33});
  backward(sum(x));  // accumulates
  CHECK(x.grad().to_vector() == std::vector<float>{6, 17, 34});
  x.set_grad({});
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a deep diamond sums each node's gradient before passing it on", "[autograd]") {
  // doubling 40 times by y + y: visiting paths one by one would take 2^40 steps
  const Tensor x = Tensor::of(1).requires_grad();
  Tensor y = x;
  for (int i = 0; i < 40; ++i) y = add(y, y);
  backward(y);
  CHECK(x.grad().item() == 0x1p40f);
}

TEST_CASE("a user's own op is recorded like the library's", "[autograd]") {
  const Tensor x = Tensor::of({2, -1}).requires_grad();
  backward(sum(cube(x)));
  CHECK(x.grad().to_vector() == std::vector<float>{12, 3});
}

TEST_CASE("gradients of two leaves never share storage", "[autograd]") {
  const Tensor a = Tensor::of({1, 2}).requires_grad(), b = Tensor::of({3, 4}).requires_grad();
  backward(sum(add(a, b)));
  Tensor grad = a.grad();
  grad.fill(7);
  CHECK(b.grad().to_vector() == std::vector<float>{1, 1});
  const Tensor dy = ones({2}), c = Tensor::of({1, 2}).requires_grad();
  backward(reshape(c, {2, 1}), reshape(dy, {2, 1}));
  CHECK(c.grad().storage() != dy.storage());
  const Tensor held = c.grad();  // what somebody holds is theirs: later gradients don't change it
  backward(sum(c));
  CHECK(held.to_vector() == std::vector<float>{1, 1});
  CHECK(c.grad().to_vector() == std::vector<float>{2, 2});
  a.set_grad(held);
  b.set_grad(held);
  backward(sum(a));
  CHECK(b.grad().to_vector() == std::vector<float>{1, 1});
}

TEST_CASE("a chain of a million ops runs backward and is destroyed without recursion", "[autograd]") {
  const Tensor x = Tensor::of(0).requires_grad(), one = ones({});
  Tensor y = x;
  constexpr std::size_t count = test::shorter(1'000'000);
  for (std::size_t i = 0; i < count; ++i) y = add(y, one);
  CHECK(y.item() == static_cast<double>(count));
  backward(y);
  CHECK(x.grad().item() == 1);
  for (std::size_t i = 0; i < count / 5; ++i) y = mul(y.needs_grad() ? y : x, one);  // captures its inputs, too
  y = {};  // and goes without ever running backward
  CHECK(x.node().use_count() == 1);
}

TEST_CASE("NoGrad and detach record nothing", "[autograd]") {
  const Tensor x = Tensor::of({1, 2}).requires_grad();
  {
    const NoGrad guard;
    const NoGrad nested;
    CHECK_FALSE(mul(x, x).needs_grad());
    CHECK_FALSE(recording(x));
  }
  CHECK(recording(x));
  CHECK(mul(x, x).needs_grad());
  CHECK_FALSE(mul(x.detach(), x.detach()).needs_grad());
  CHECK(x.detach().storage() == x.storage());
  Tensor copy = x;
  copy.requires_grad(false);
  CHECK_FALSE(copy.needs_grad());
  CHECK(x.needs_grad());
}

TEST_CASE("a graph is freed by backward unless it is retained", "[autograd]") {
  const Tensor x = Tensor::of({3}).requires_grad();
  const Tensor y = sum(mul(x, x));
  backward(y, {.retain_graph = true});
  backward(y);
  CHECK(x.grad().item() == 12);
  CHECK(throws_with([&] { backward(y); }, "[sum] expected a graph, got one that an earlier backward freed"));
}

TEST_CASE("memory of the graph is released while backward proceeds", "[autograd]") {
  const Tensor x = Tensor::of({1, 2}).requires_grad();
  std::weak_ptr<Storage> late;
  bool late_alive_while_early_runs = true;
  Tensor y = record("early", x.clone(), {x}, [&](const Tensor& dy) {
    late_alive_while_early_runs = !late.expired();
    return Grads{dy};
  });
  {
    const Tensor kept = Tensor::of({5, 5});
    late = kept.storage();
    y = record("late", y.clone(), {y}, [kept](const Tensor& dy) { return Grads{mul(dy, kept)}; });
  }
  CHECK_FALSE(late.expired());
  backward(sum(y));
  CHECK_FALSE(late_alive_while_early_runs);
  CHECK(x.grad().to_vector() == std::vector<float>{5, 5});
}

TEST_CASE("writing to what an op read or wrote before its backward is an error", "[autograd]") {
  Tensor constant = Tensor::of({1, 2});
  const Tensor x = Tensor::of({3, 4}).requires_grad();
  Tensor y = mul(x, constant);
  constant.fill(0);
  CHECK(throws_with([&] { backward(sum(y)); }, "[mul] expected input 1 unchanged until backward"));
  CHECK_FALSE(x.grad().defined());

  y = exp(x);
  Tensor alias = y.detach();
  alias.view(0, {1}).mutable_data<float>()[0] = 1;  // through any view of the storage
  CHECK(throws_with([&] { backward(sum(y)); }, "[exp] expected its output unchanged until backward"));

  Tensor leaf = Tensor::of({1}).requires_grad();
  backward(sum(mul(leaf, leaf)));
  leaf.mutable_data<float>()[0] = 2;  // after backward, as an optimizer does
  backward(sum(mul(leaf, leaf)));
  CHECK(leaf.grad().item() == 2 + 4);
}

TEST_CASE("a failed backward leaves no gradient behind in the graph", "[autograd]") {
  const Tensor x = Tensor::of({1.0}).requires_grad();
  bool fail_now = true;
  const Tensor shared = mul(x, x);
  const Tensor bad = record("bad", shared.clone(), {shared}, [&](const Tensor& dy) {
    check(!fail_now, "bad", "expected luck");
    return Grads{dy};
  });
  const Tensor loss = sum(add(shared, bad));
  CHECK(throws_with([&] { backward(loss, {.retain_graph = true}); }, "[bad] expected luck"));
  fail_now = false;
  backward(loss);
  CHECK(x.grad().item() == 4);
}

TEST_CASE("backward checks what it is given and what closures return", "[autograd]") {
  const Tensor x = Tensor::of({1, 2}).requires_grad();
  CHECK(throws_with([&] { backward(mul(x, x)); }, "[backward] expected a scalar loss, got shape [2]"));
  CHECK(throws_with([] { backward(Tensor()); }, "[backward] expected a defined tensor, got an undefined one"));
  CHECK(throws_with([&] { backward(mul(x, x), Tensor()); }, "[backward] expected a gradient, got an undefined tensor"));
  CHECK(throws_with([] { backward(Tensor::of(1)); },
                    "[backward] expected a tensor computed from one with requires_grad()"));
  CHECK(throws_with([&] { backward(mul(x, x), ones({3})); }, "expected a gradient f32 [2] on cpu, got f32 [3] on cpu"));
  CHECK(throws_with([&] { backward(sum(record("few", x.clone(), {x}, [](const Tensor&) { return Grads{}; }))); },
                    "[few] expected 1 gradients from backward, got 0"));
  CHECK(
      throws_with([&] { backward(sum(record("odd", x.clone(), {x}, [](const Tensor&) { return Grads{ones({3})}; }))); },
                  "[odd] expected a gradient f32 [2] on cpu, got f32 [3] on cpu"));
  CHECK(throws_with([&] { to(x, dtype::i32); },
                    "[to] expected a floating dtype for a tensor that needs a gradient, got i32"));
  Tensor y = mul(x, x);
  CHECK(throws_with([&] { y.requires_grad(); }, "expected a leaf, got the result of an op"));
}

TEST_CASE("an op may leave out a gradient, and what hangs on it alone gets none", "[autograd]") {
  const Tensor a = Tensor::of({1.0}).requires_grad(), b = Tensor::of({1.0}).requires_grad();
  const Tensor y = record("half", a.clone(), {scale(a, 2), scale(b, 2)}, [](const Tensor& dy) {
    return Grads{dy, Tensor()};
  });
  backward(sum(y));
  CHECK(a.grad().item() == 2);
  CHECK_FALSE(b.grad().defined());
}

TEST_CASE("bf16 leaves accumulate bf16 gradients", "[autograd]") {
  const Tensor x = Tensor::of({1, 2}, dtype::bf16).requires_grad();
  backward(sum(add(mul(x, x), x)));
  CHECK(x.grad().dtype() == dtype::bf16);
  CHECK(float(x.grad().to_vector<bf16>()[1]) == 5);
}
