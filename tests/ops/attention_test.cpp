#include "clip/ops/attention.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/view.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Which keys a query sees: of sequence, query and key.
using Visible = std::function<bool(std::int64_t, std::int64_t, std::int64_t)>;

/// The definition, for `lq` queries and `lk` keys that start at rows `q0` and `k0` of arrays [rows, heads, dim].
void reference_sequence(Array& y, const Array& q, const Array& k, const Array& v, std::int64_t s, std::int64_t q0,
                        std::int64_t lq, std::int64_t k0, std::int64_t lk, const Visible& visible) {
  const std::int64_t heads = q.shape[-2], dim = q.shape[-1];
  for (std::int64_t h = 0; h < heads; ++h)
    for (std::int64_t i = 0; i < lq; ++i) {
      std::vector<double> p(static_cast<std::size_t>(lk));
      double total = 0;
      for (std::int64_t j = 0; j < lk; ++j) {
        if (!visible(s, i, j)) continue;
        double score = 0;
        for (std::int64_t d = 0; d < dim; ++d)
          score += q[((q0 + i) * heads + h) * dim + d] * k[((k0 + j) * heads + h) * dim + d];
        total += p[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(static_cast<double>(dim)));
      }
      for (std::int64_t j = 0; j < lk; ++j)
        for (std::int64_t d = 0; d < dim && total > 0; ++d)
          y[((q0 + i) * heads + h) * dim + d] +=
              p[static_cast<std::size_t>(j)] / total * v[((k0 + j) * heads + h) * dim + d];
    }
}

Array reference(const std::vector<Array>& in, const Visible& visible) {
  Array y(in[0].shape);
  const std::int64_t lq = in[0].shape[1], lk = in[1].shape[1];
  for (std::int64_t s = 0; s < in[0].shape[0]; ++s)
    reference_sequence(y, in[0], in[1], in[2], s, s * lq, lq, s * lk, lk, visible);
  return y;
}

std::vector<Array> random_inputs(const Shape& q, const Shape& k) {
  return {random_array(q, -2, 2, 1), random_array(k, -2, 2, 2), random_array(k, -2, 2, 3)};
}

bool everything(std::int64_t, std::int64_t, std::int64_t) { return true; }
bool causal(std::int64_t, std::int64_t i, std::int64_t j) { return j <= i; }

/// On the device of `like`.
Tensor packed(const std::vector<std::int32_t>& offsets, const Tensor& like = {}) {
  const Tensor t = Tensor::from(offsets, {static_cast<std::int64_t>(offsets.size())});
  return like.defined() ? to(t, like.device()) : t;
}

const CheckOptions few{.samples = 6};  // the reference is slow

}  // namespace

TEST_CASE("attention agrees with its definition for every size of head", "[ops]") {
  for (const std::int64_t dim : {1, 15, 16, 17, 63, 64, 65, 128}) {
    const auto op = [](auto& in) { return attention(in[0], in[1], in[2]); };
    check_op(
        "attention", op, [](auto& in) { return reference(in, everything); },
        random_inputs({2, 5, 3, dim}, {2, 7, 3, dim}), few);
  }
}

TEST_CASE("attention agrees with its definition for every length", "[ops]") {
  for (const std::int64_t lq : {0, 1, 17, 63, 65, 130})
    for (const std::int64_t lk : {0, 1, 16, 64, 129}) {
      const auto op = [](auto& in) { return attention(in[0], in[1], in[2]); };
      check_op(
          "attention", op, [](auto& in) { return reference(in, everything); },
          random_inputs({1, lq, 2, 5}, {1, lk, 2, 5}), few);
    }
}

TEST_CASE("causal attention sees no later key", "[ops]") {
  for (const std::int64_t length : {1, 16, 63, 64, 65, 150}) {
    const auto op = [](auto& in) { return attention(in[0], in[1], in[2], {.causal = true}); };
    check_op(
        "attention", op, [](auto& in) { return reference(in, causal); },
        random_inputs({2, length, 1, 8}, {2, length, 1, 8}), few);
  }
}

TEST_CASE("attention leaves out masked keys", "[ops]") {
  constexpr std::int64_t sequences = 4, lk = 150;
  // sequences of 150, 65 and no keys, and one with holes
  const auto shown = [](std::int64_t s, std::int64_t j) {
    return s == 0 || (s == 1 && j < 65) || (s == 3 && j % 3 == 1);
  };
  std::vector<std::uint8_t> mask;
  for (std::int64_t s = 0; s < sequences; ++s)
    for (std::int64_t j = 0; j < lk; ++j) mask.push_back(shown(s, j) ? 255 : 0);
  for (const bool is_causal : {false, true}) {
    const std::int64_t lq = is_causal ? lk : 70;
    const auto op = [&](auto& in) {
      const Tensor hidden = to(Tensor::from(mask, {sequences, lk}), in[0].device());
      return attention(in[0], in[1], in[2], {.causal = is_causal, .mask = hidden});
    };
    const Visible visible = [&](std::int64_t s, std::int64_t i, std::int64_t j) {
      return shown(s, j) && (!is_causal || j <= i);
    };
    check_op(
        "attention", op, [&](auto& in) { return reference(in, visible); },
        random_inputs({sequences, lq, 2, 6}, {sequences, lk, 2, 6}), few);
  }
}

TEST_CASE("a query that sees no key gives zeros and no gradients", "[ops]") {
  Tensor q = ones({1, 3, 1, 4}).requires_grad(), k = ones({1, 3, 1, 4}).requires_grad(),
         v = ones({1, 3, 1, 4}).requires_grad();
  const Tensor mask = Tensor::of({{0, 0, 1}}, dtype::u8);
  const Tensor y = attention(q, k, v, {.causal = true, .mask = mask});  // only the last query sees a key, the last one
  backward(y, ones(y.shape()));
  const std::vector<float> expected{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
  CHECK(y.to_vector() == expected);
  CHECK(q.grad().to_vector() == std::vector<float>(12, 0.0f));
  CHECK(k.grad().to_vector() == std::vector<float>(12, 0.0f));
  CHECK(v.grad().to_vector() == expected);
}

TEST_CASE("attention drops what the random stream says, in both directions", "[ops]") {
  constexpr std::int64_t heads = 2, longest = 130, blocks = (longest + 3) / 4;
  constexpr float p = 0.3f;
  const std::vector<std::int32_t> offsets{0, 3, 70, 200};
  const auto factor = [&](std::int64_t row, std::int64_t h, std::int64_t j) {
    const auto words = philox(5, 11 + static_cast<std::uint64_t>((row * heads + h) * blocks + j / 4));
    return words[static_cast<std::size_t>(j % 4)] < p * 0x1p32 ? 0.0 : 1 / (1 - double{p});
  };
  const auto op = [&](auto& in) {
    Random random(5, 11);
    return attention(in[0], in[1], in[2], {.offsets = packed(offsets, in[0]), .dropout = p, .random = &random});
  };
  const auto expected = [&](auto& in) {
    Array y(in[0].shape);
    const std::int64_t dim = in[0].shape[-1];
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
          std::vector<double> weight;
          double total = 0;
          for (std::int64_t j = offsets[s]; j < offsets[s + 1]; ++j) {
            double score = 0;
            for (std::int64_t d = 0; d < dim; ++d)
              score += in[0][(i * heads + h) * dim + d] * in[1][(j * heads + h) * dim + d];
            total += weight.emplace_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
          }
          for (std::int64_t j = offsets[s]; j < offsets[s + 1]; ++j)
            for (std::int64_t d = 0; d < dim; ++d)
              y[(i * heads + h) * dim + d] += factor(i, h, j - offsets[s]) *
                                              weight[static_cast<std::size_t>(j - offsets[s])] / total *
                                              in[2][(j * heads + h) * dim + d];
        }
    return y;
  };
  check_op("attention", op, expected, random_inputs({200, heads, 6}, {200, heads, 6}), few);
  Random random(5, 11);
  const Tensor x = ones({200, heads, 6});
  attention(x, x, x, {.offsets = packed(offsets), .dropout = p, .random = &random});
  CHECK(random.offset() == 11 + 200 * heads * blocks);
}

TEST_CASE("packed sequences attend to themselves only", "[ops]") {
  const std::vector<std::int32_t> offsets{0, 3, 3, 70, 71, 200};
  for (const bool is_causal : {false, true}) {
    const auto op = [&](auto& in) {
      return attention(in[0], in[1], in[2], {.causal = is_causal, .offsets = packed(offsets, in[0])});
    };
    const auto expected = [&](auto& in) {
      Array y(in[0].shape);
      for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        const std::int64_t first = offsets[s], length = offsets[s + 1] - first;
        reference_sequence(y, in[0], in[1], in[2], 0, first, length, first, length, is_causal ? causal : everything);
      }
      return y;
    };
    check_op("attention", op, expected, random_inputs({200, 3, 9}, {200, 3, 9}), few);
  }
  const auto op = [&](auto& in) { return attention(in[0], in[1], in[2], {.offsets = packed(offsets, in[0])}); };
  const auto expected = [&](auto& in) {  // as many queries for each sequence
    Array y(in[0].shape);
    for (std::int64_t s = 0; s < in[0].shape[0]; ++s) {
      const std::int64_t first = offsets[static_cast<std::size_t>(s)], end = offsets[static_cast<std::size_t>(s) + 1];
      reference_sequence(y, in[0], in[1], in[2], s, s * 2, 2, first, end - first, everything);
    }
    return y;
  };
  check_op("attention", op, expected, random_inputs({5, 2, 3, 7}, {200, 3, 7}), few);
  CHECK(attention(ones({0, 2, 4}), ones({0, 2, 4}), ones({0, 2, 4}), {.offsets = packed({0})}).shape() ==
        Shape{0, 2, 4});
}

TEST_CASE("attention takes a scale and scores far apart", "[ops]") {
  // one query, keys with scores 300, -300 and 299 times the scale
  const Tensor q = Tensor::of({1}).view(0, {1, 1, 1, 1});
  const Tensor k = Tensor::of({300, -300, 299}).view(0, {1, 3, 1, 1}), v = Tensor::of({1, 10, 0}).view(0, {1, 3, 1, 1});
  CHECK(attention(q, k, v).item() == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(attention(q, k, v, {.scale = 0.5f}).item() == Approx(1 / (1 + std::exp(-0.5))));
  CHECK(attention(q, k, v, {.scale = 0.0f}).item() == Approx(11.0 / 3));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(attention(full({1, 1, 1, 1}, nan), k, v).item()));
}

TEST_CASE("attention is the same for any number of threads", "[ops]") {
  const std::vector<Array> in = random_inputs({3, 150, 4, 20}, {3, 150, 4, 20});
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Tensor q = to_tensor(in[0]).requires_grad(), k = to_tensor(in[1]).requires_grad(),
           v = to_tensor(in[2]).requires_grad();
    const Tensor y = attention(q, k, v, {.causal = true});
    backward(y, to_tensor(random_array(y.shape(), -1, 1, 7)));
    for (const Tensor& t : {y, q.grad(), k.grad(), v.grad()}) results.push_back(t.to_vector());
  }
  set_num_threads(before);
  for (std::size_t i = 4; i < results.size(); ++i) CHECK(results[i] == results[i % 4]);
}

TEST_CASE("attention computes only the gradients that are needed", "[ops]") {
  const std::vector<Array> in = random_inputs({1, 9, 2, 4}, {1, 9, 2, 4});
  const Tensor mask = Tensor::from(std::vector<std::uint8_t>{1, 1, 0, 1, 1, 1, 0, 1, 1}, {1, 9});
  const auto run = [&](bool of_q, bool of_k, bool of_v) {
    std::vector<Tensor> t{to_tensor(in[0]).requires_grad(of_q), to_tensor(in[1]).requires_grad(of_k),
                          to_tensor(in[2]).requires_grad(of_v)};
    const Tensor y = attention(t[0], t[1], t[2], {.mask = mask});
    backward(y, ones(y.shape()));
    return t;
  };
  const std::vector<Tensor> all = run(true, true, true);
  CHECK(run(true, false, false)[0].grad().to_vector() == all[0].grad().to_vector());
  CHECK(run(false, true, false)[1].grad().to_vector() == all[1].grad().to_vector());
  CHECK(run(false, false, true)[2].grad().to_vector() == all[2].grad().to_vector());
}

TEST_CASE("attention says what it cannot take", "[ops]") {
  const Tensor x = ones({2, 3, 4, 5}), rows = ones({6, 4, 5});
  CHECK(throws_with([&] { attention(rows, rows, rows); },
                    "[attention] expected q, k, v [N, L, H, D] that agree, got [6, 4, 5]"));
  CHECK(throws_with([&] { attention(x, ones({2, 3, 4, 6}), x); }, "that agree, got [2, 3, 4, 5], [2, 3, 4, 6]"));
  CHECK(throws_with([&] { attention(x, x, ones({2, 4, 4, 5})); }, "that agree, got"));
  CHECK(throws_with([&] { attention(x, x, ones(x.shape(), dtype::bf16)); },
                    "expected q, k, v of one dtype, got f32, f32, bf16"));
  const Tensor ids = ones(x.shape(), dtype::i32);
  CHECK(throws_with([&] { attention(ids, ids, ids); }, "[attention] expected f32 or bf16, got i32"));
  const Tensor none = ones({2, 3, 4, 0});
  CHECK(throws_with([&] { attention(none, none, none); }, "expected heads of at least one element"));
  const Tensor more = ones({2, 6, 4, 5});
  CHECK(throws_with([&] { attention(x, more, more, {.causal = true}); },
                    "[attention] expected as many queries as keys for causal, got 3 and 6"));
  CHECK(throws_with(
      [&] {
        attention(x, x, x, {.mask = ones({2, 4}, dtype::u8)});
      },
      "[attention] expected a mask u8 [2, 3], got u8 [2, 4]"));
  CHECK(throws_with([&] { attention(x, x, x, {.mask = ones({2, 3})}); }, "expected a mask u8 [2, 3], got f32 [2, 3]"));
  const auto with = [&](const std::vector<std::int32_t>& offsets) {
    attention(rows, rows, rows, {.offsets = packed(offsets)});
  };
  CHECK(throws_with([&] { with({1, 6}); }, "[attention] expected offsets that start at 0 and ascend, got 1 at [0]"));
  CHECK(throws_with([&] { with({0, 4, 3, 6}); }, "expected offsets that start at 0 and ascend, got 3 at [2]"));
  CHECK(throws_with([&] { with({0, INT32_MAX, -2, 6}); }, "start at 0 and ascend, got -2 at [2]"));
  CHECK(throws_with(
      [&] {
        with({0, 4, 7});
      },
      "[attention] expected offsets that end at 6, the rows of k, got 7 at [2]"));
  CHECK(throws_with(
      [&] {
        attention(ones({2, 1, 4, 5}), rows, rows, {.offsets = packed({0, 6})});
      },
      "[attention] expected offsets [3] for q [2, 1, 4, 5], got [2]"));
  CHECK(throws_with([&] { with({}); }, "expected offsets i32 [S + 1], got i32 [0]"));
  CHECK(throws_with([&] { attention(rows, rows, rows, {.offsets = ones({2}, dtype::i64)}); }, "got i64 [2]"));
  CHECK(throws_with(
      [&] {
        attention(rows, rows, rows, {.mask = ones({1, 6}, dtype::u8), .offsets = packed({0, 6})});
      },
      "[attention] expected a mask or offsets, got both"));
}

TEST_CASE("attention takes the longest length from those who know it", "[ops]") {
  for (const Device& device : devices()) {
    const Tensor x = to_tensor(random_array({6, 1, 4}), dtype::f32, device);
    const auto with = [&](const std::vector<std::int32_t>& offsets, std::int64_t longest) {
      return attention(x, x, x, {.offsets = packed(offsets, x), .longest = longest});
    };
    const std::vector<float> expected = with({0, 4, 6}, 0).to_vector();
    for (const std::int64_t longest : {4, 6, 70}) CHECK(with({0, 4, 6}, longest).to_vector() == expected);
    for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{1} << 62})
      CHECK(throws_with(
          [&] {
            with({0, 4, 6}, wrong);
          },
          "[attention] expected a longest length within i32, got " + std::to_string(wrong)));
    if (device.is_cpu()) {
      CHECK(throws_with([&] { with({0, 4, 6}, 3); }, "[attention] expected sequences of at most 3 rows, got one of 4"));
      continue;
    }
    for (const auto& [offsets, wrong] : std::vector<std::pair<std::vector<std::int32_t>, std::string>>{
             {{0, 5, 6}, "5 at [1]"}, {{0, 4, 7}, "7 at [2]"}, {{0, 4, 2, 6}, "2 at [2]"}, {{0, -9, 6}, "-9 at [1]"}}) {
      with(offsets, 4);
      CHECK(throws_with([&] { device.synchronize(); },
                        "[attention] expected offsets that ascend from 0 to 6 by at most 4, got " + wrong));
    }
    CHECK(with({0, 4, 6}, 4).to_vector() == expected);
  }
}
