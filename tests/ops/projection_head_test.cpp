#include "clip/ops/projection_head.hpp"

#include <cmath>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/nn/projection_head.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/dropout.hpp"
#include "clip/ops/layer_norm.hpp"
#include "clip/ops/linear.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// x, projection and its bias, fc and its bias, norm's scale and shift.
std::vector<Array> head_inputs(std::int64_t rows, std::int64_t in, std::int64_t out) {
  const double w1 = std::sqrt(3.0 / static_cast<double>(in)), w2 = std::sqrt(3.0 / static_cast<double>(out));
  return {random_array({rows, in}, -1, 1, 1),   random_array({out, in}, -w1, w1, 2), random_array({out}, -1, 1, 3),
          random_array({out, out}, -w2, w2, 4), random_array({out}, -1, 1, 5),       random_array({out}, 0.5, 1.5, 6),
          random_array({out}, -1, 1, 7)};
}

Tensor head(const std::vector<Tensor>& in, const ProjectionOptions& options = {}) {
  return projection_head(in[0], {in[1], in[2], in[3], in[4], in[5], in[6]}, options);
}

Tensor composed(const std::vector<Tensor>& in, float p, Random& random) {
  const Tensor h = linear(in[0], in[1], in[2]);
  return layer_norm(dropout_add(linear(gelu(h), in[3], in[4]), h, p, random), in[5], in[6]);
}

Array reference_head(const std::vector<Array>& in) {
  const std::int64_t rows = in[0].shape[0], size = in[0].shape[1], out = in[1].shape[0];
  Array result({rows, out});
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<double> h, z;
    for (std::int64_t c = 0; c < out; ++c) {
      double sum = in[2][c];
      for (std::int64_t k = 0; k < size; ++k) sum += in[0][r * size + k] * in[1][c * size + k];
      h.push_back(sum);
    }
    double mean = 0, variance = 0;
    for (std::int64_t c = 0; c < out; ++c) {
      double sum = in[4][c] + h[static_cast<std::size_t>(c)];
      for (std::int64_t k = 0; k < out; ++k)
        sum += reference_activation(Activation::gelu, h[static_cast<std::size_t>(k)]) * in[3][c * out + k];
      z.push_back(sum);
      mean += sum / static_cast<double>(out);
    }
    for (const double v : z) variance += (v - mean) * (v - mean) / static_cast<double>(out);
    for (std::int64_t c = 0; c < out; ++c)
      result[r * out + c] = (z[static_cast<std::size_t>(c)] - mean) / std::sqrt(variance + 1e-5) * in[5][c] + in[6][c];
  }
  return result;
}

std::vector<float> floats(const Tensor& t) { return to(to(t.detach(), Device::cpu()), dtype::f32).to_vector(); }

std::vector<std::vector<float>> values_and_gradients(const Tensor& y, const std::vector<Tensor>& in, const Tensor& dy) {
  for (const Tensor& t : in) t.set_grad({});
  backward(y, dy);
  std::vector<std::vector<float>> all{y.to_vector()};
  for (const Tensor& t : in) all.push_back(t.grad().to_vector());
  return all;
}

}  // namespace

TEST_CASE("projection_head agrees with a double loop and its differences", "[ops]") {
  for (const std::int64_t out : {2, 15, 16, 17, 64, 65})
    for (const std::int64_t rows : {0, 1, 5, 17}) {
      if (rows == 17 && out != 17) continue;
      check_op(
          "projection_head", [](auto& in) { return head(in); }, [](auto& in) { return reference_head(in); },
          head_inputs(rows, 19, out),
          {.tolerance = {.f32 = 1e-5, .bf16 = 4e-2, .gradient = 1e-3, .bf16_gradient = 2e-1}});
    }
}

TEST_CASE("projection_head agrees where one kernel does all of it", "[ops]") {
  struct Case {
    std::int64_t rows, in, out;
  };
  for (const Case& c : {Case{0, 8, 8}, {1, 8, 8}, {17, 40, 64}, {2, 8, 264}})
    check_op(
        "projection_head", [](auto& in) { return head(in); }, [](auto& in) { return reference_head(in); },
        head_inputs(c.rows, c.in, c.out),
        {.tolerance = {.f32 = 1e-5, .bf16 = 4e-2, .gradient = 1e-3, .bf16_gradient = 2e-1}});
}

TEST_CASE("projection_head drops what its ops drop, and gives the same bits again, on every device", "[ops]") {
  struct Size {
    std::int64_t rows, in, out;
  };
  for (const Device& device : devices())
    for (const Size& size : {Size{70, 24, 64}, {3, 1032, 256}}) {  // one kernel; the GPU's second forward are products
      const std::int64_t count = size.rows * size.out;
      std::vector<Tensor> in;
      for (const Array& a : head_inputs(size.rows, size.in, size.out))
        in.push_back(to_tensor(a, dtype::bf16, device).requires_grad());
      const Tensor dy = to_tensor(random_array({size.rows, size.out}, -1, 1, 9), dtype::bf16, device);
      Tensor odd_dy = Tensor({count + 1}, dtype::bf16, device).view(1, dy.shape());
      odd_dy.copy_from(dy);
      const auto once = [&](const auto& function, const Tensor& gradient) {
        Random random(5, 3);
        for (const Tensor& t : in) t.set_grad({});
        const Tensor y = function(random);
        backward(y, gradient);
        CHECK(random.offset() == 3 + static_cast<std::uint64_t>(count / 4));
        std::vector<std::vector<float>> all{floats(y)};
        for (const Tensor& t : in) all.push_back(floats(t.grad()));
        return all;
      };
      const auto ours = [&](Random& random) { return head(in, {.dropout = 0.3f, .random = &random}); };
      const auto first = once(ours, dy), theirs = once([&](Random&random) { return composed(in, 0.3f, random); }, dy);
      CHECK(once(ours, dy) == first);
      CHECK(once(ours, odd_dy) == first);
      for (std::size_t k = 0; k < first.size(); ++k) {
        INFO(size.in << " to " << size.out << ", gradient of input " << static_cast<int>(k) - 1 << " (-1: the output)");
        double worst = 0, largest = 1;
        for (std::size_t i = 0; i < first[k].size(); ++i) {
          worst = std::max(worst, static_cast<double>(std::abs(first[k][i] - theirs[k][i])));
          largest = std::max(largest, static_cast<double>(std::abs(theirs[k][i])));
        }
        CHECK(worst <= 4e-2 * largest);
      }
      const NoGrad no_grad;
      Random random(5, 3);
      CHECK(floats(ours(random)) == first[0]);
    }
}

TEST_CASE("projection_head is the ops it is made of, and drops what they drop", "[ops]") {
  for (const float p : {0.0f, 0.1f, 0.5f, 1.0f})
    for (const std::int64_t out : {7, 32, 50, 256, 2050})
      for (const std::int64_t rows : {1, 6, 35}) {
        if (out == 2050 && (rows != 6 || p != 0.1f)) continue;
        INFO("dropout " << p << ", [" << rows << ", " << out << ']');
        std::vector<Tensor> in;
        for (const Array& a : head_inputs(rows, 12, out)) in.push_back(to_tensor(a).requires_grad());
        const Tensor dy = to_tensor(random_array({rows, out}, -1, 1, 9));
        Random ours(5, 3), theirs(5, 3);
        const auto x = values_and_gradients(head(in, {.dropout = p, .random = &ours}), in, dy);
        const auto y = values_and_gradients(composed(in, p, theirs), in, dy);
        CHECK(ours.offset() == theirs.offset());
        for (std::size_t k = 0; k < x.size(); ++k) {
          INFO("gradient of input " << static_cast<int>(k) - 1 << " (-1: the output)");
          double worst = 0, largest = 0.1;
          for (std::size_t i = 0; i < x[k].size(); ++i) {
            worst = std::max(worst, std::abs(static_cast<double>(x[k][i]) - static_cast<double>(y[k][i])));
            largest = std::max(largest, std::abs(static_cast<double>(y[k][i])));
          }
          CHECK(worst <= 3e-6 * largest);
        }
      }
}

TEST_CASE("projection_head drops only where it has random numbers", "[ops]") {
  Random random(1);
  ProjectionHead layer(8, 16, random, 0.5f);
  const Tensor x = to_tensor(random_array({3, 8}));
  const auto still = layer(x).to_vector();
  CHECK(layer(x).to_vector() == still);
  CHECK(layer(x, &random).to_vector() != still);
  std::vector<std::string> names;
  for (const Member& member : members(layer)) names.push_back(member.name);
  CHECK(names == std::vector<std::string>{"projection.weight", "projection.bias", "fc.weight", "fc.bias",
                                          "layer_norm.weight", "layer_norm.bias"});
  ProjectionHead text(768, 256, Init::none()), image(2048, 256, Init::none());
  CHECK(count_parameters(text) == 263'168);
  CHECK(count_parameters(image) == 590'848);
}

TEST_CASE("projection_head gives the same bits again, with any number of threads", "[ops][threads]") {
  std::vector<Tensor> in;
  for (const Array& a : head_inputs(1500, 8, 33)) in.push_back(to_tensor(a).requires_grad());
  const Tensor dy = to_tensor(random_array({1500, 33}, -1, 1, 9));
  const int before = num_threads();
  const auto once = [&](int threads) {
    set_num_threads(threads);
    Random random(5);
    return values_and_gradients(head(in, {.dropout = 0.3f, .random = &random}), in, dy);
  };
  for (const int threads : {1, 2, 5}) CHECK(once(threads) == once(threads));  // oneDNN's sums depend on their number
  set_num_threads(before);
}

TEST_CASE("projection_head refuses what does not fit", "[ops]") {
  std::vector<Tensor> in;
  for (const Array& a : head_inputs(2, 3, 4)) in.push_back(to_tensor(a));
  const auto with = [&](std::size_t i, const Tensor& t) {
    std::vector<Tensor> changed = in;
    changed[i] = t;
    return [changed] { head(changed); };
  };
  CHECK(throws_with(with(0, ones({2, 2})),
                    "[projection_head] expected x [N, in] and a projection [out, in], got [2, 2]"));
  CHECK(throws_with(with(2, ones({3})), "[projection_head] expected a projection bias [4], got [3]"));
  CHECK(throws_with(with(3, ones({4, 3})), "[projection_head] expected fc [4, 4], got [4, 3]"));
  CHECK(throws_with(with(4, ones({4}, dtype::bf16)), "[projection_head] expected an fc bias in f32, got bf16"));
  CHECK(throws_with(with(6, ones({5})), "[projection_head] expected norm's scale and shift [4] on cpu, got [5]"));
  CHECK(throws_with(with(1, Tensor()), "[projection_head] expected a defined tensor"));
  CHECK(
      throws_with([&] { head(in, {.dropout = 1.5f}); }, "[projection_head] expected a dropout within [0, 1], got 1.5"));
}
