#include "clip/ops/contrastive_loss.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/contrastive.hpp"
#include "src/dispatch.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::ContrastiveGradients;

void check_pairs(const Tensor& text, const Tensor& image, const char* op) {
  check_float(text, op, Kernels::cpu_and_cuda);
  check_tensor(image, op, Kernels::cpu_and_cuda);
  check(text.rank() == 2 && text.shape() == image.shape() && text.numel() > 0, op,
        "expected text and image [N, D] of one shape with N, D >= 1, got ", text.shape(), " and ", image.shape());
  check(text.dtype() == image.dtype() && text.device() == image.device(), op,
        "expected text and image of one dtype and device, got ", text.dtype(), " on ", text.device(), " and ",
        image.dtype(), " on ", image.device());
}

void check_number(const Tensor& t, const Tensor& text, const char* op, const char* what) {
  check_tensor(t, op, Kernels::cpu_and_cuda);
  check(t.numel() == 1 && t.dtype() == dtype::f32 && t.device() == text.device(), op, "expected ", what,
        ": one f32 number on ", text.device(), ", got ", t.dtype(), ' ', t.shape(), " on ", t.device());
}
/// A number of the CPU's.
float finite(const Tensor& t, const char* op, const char* what) {
  const float value = t.item();
  check(std::isfinite(value), op, "expected ", what, " that is finite, got ", value);
  return value;
}

/// Rows as kernels take them: the CPU's are f32.
Tensor operand(const Tensor& x) { return x.device().is_cpu() ? to(x, dtype::f32) : x; }

/// Which pairs are each other's positives.
void check_ids(const Tensor& ids, const Tensor& text, const char* op) {
  check(!ids.defined() || (ids.dtype() == dtype::i32 && ids.shape() == Shape{text.shape(0)}), op, "expected ids i32 ",
        Shape{text.shape(0)}, ", got ", ids.defined() ? ids.dtype() : dtype::i32, ' ', ids.shape());
}
/// For the GPU: none where only the diagonal is positive.
struct IdsThere {
  Tensor ids;
  IdsThere(const Tensor& given, const Device& device) {
    if (given.defined()) ids = to(given, device);
  }
  const std::int32_t* pointer() const { return ids.defined() ? ids.data<std::int32_t>() : nullptr; }
};
/// For the CPU, with one over how many each pair has.
struct Positives {
  std::vector<std::int32_t> ids;
  std::vector<float> share;
};
Positives positives(const Tensor& ids, std::int64_t count) {
  const auto n = static_cast<std::size_t>(count);
  Positives all{std::vector<std::int32_t>(n), std::vector<float>(n, 1.0f)};
  std::iota(all.ids.begin(), all.ids.end(), 0);
  if (!ids.defined()) return all;
  all.ids = ids.to_vector<std::int32_t>();
  std::unordered_map<std::int32_t, float> counts;
  for (const std::int32_t id : all.ids) counts[id] += 1;
  for (std::size_t i = 0; i < n; ++i) all.share[i] = 1 / counts[all.ids[i]];
  return all;
}

/// A loss and, where they are recorded, the gradients of all its inputs, those of text and image [2, N, D]; all f32.
struct Result {
  Tensor loss, pairs, scale, bias;

  Result(const Tensor& like, bool gradients) : loss(Shape{}, dtype::f32, like.device()) {
    if (!gradients) return;
    pairs = Tensor({2, like.shape(0), like.shape(1)}, dtype::f32, like.device());
    scale = empty_like(loss);
    bias = empty_like(loss);
  }
  ContrastiveGradients pointers() {
    if (!pairs.defined()) return {};
    float* const text = pairs.mutable_data<float>();
    return {text, text + pairs.numel() / 2, scale.mutable_data<float>(), bias.mutable_data<float>()};
  }
};

Tensor scratch_of(std::int64_t count, const Tensor& like) { return Tensor({count}, dtype::f32, like.device()); }

/// The gradient of inputs of this type, f32 on the CPU, from the loss's.
Tensor times(const Tensor& gradient, const Tensor& dloss, dtype type) {
  Tensor product;
  on_device(
      dloss.device(), "contrastive_loss",
      [&] { product = dloss.item() == 1 ? gradient : scale(gradient, dloss.item()); },
      [&](auto stream) {
        product = Tensor(gradient.shape(), type, gradient.device());
        dispatch_float(type, "contrastive_loss", [&]<class T>() {
          kernels::cuda::scaled_gradient(product.mutable_data<T>(), gradient.data<float>(), dloss.data<float>(),
                                         gradient.numel(), stream);
        });
      });
  return product;
}
/// Those of text and image, of `pairs` at once, whose storage they share.
std::pair<Tensor, Tensor> of_pairs(const Tensor& pairs, const Tensor& dloss, dtype type) {
  const Tensor both = times(pairs, dloss, type);
  const Shape shape{both.shape(1), both.shape(2)};
  return {both.view(0, shape), both.view(shape.numel(), shape)};
}
Tensor times(const Tensor& gradient, const Tensor& dloss, const Shape& shape) {
  return times(gradient, dloss, dtype::f32).view(0, shape);
}

}  // namespace

Tensor soft_target_loss(const Tensor& text, const Tensor& image, const ContrastiveOptions& options) {
  constexpr const char* op = "soft_target_loss";
  check_pairs(text, image, op);
  const float tau = options.temperature;
  check(tau > 0 && std::isfinite(tau), op, "expected a temperature > 0, got ", tau);
  return soft_target_loss(text, image, full({}, static_cast<double>(tau), dtype::f32, text.device()),
                          options.detach_targets);
}

Tensor soft_target_loss(const Tensor& text, const Tensor& image, const Tensor& temperature, bool detach_targets) {
  constexpr const char* op = "soft_target_loss";
  check_pairs(text, image, op);
  check_number(temperature, text, op, "a temperature");
  const Tensor t = operand(text), v = operand(image);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  const bool gradients = recording(t, v, temperature);
  Result result(t, gradients);
  float* const loss = result.loss.mutable_data<float>();
  const ContrastiveGradients out = result.pointers();
  on_device(
      t.device(), op,
      [&] {
        const float tau = finite(temperature, op, "a temperature");
        check(tau > 0, op, "expected a temperature > 0, got ", tau);
        Tensor scratch = scratch_of(kernels::soft_target_scratch(n, d, gradients, detach_targets), t);
        kernels::cpu::soft_target_loss(loss, out, t.data<float>(), v.data<float>(), tau, detach_targets, n, d,
                                       scratch.mutable_data<float>());
      },
      [&](auto stream) {
        dispatch_float(t.dtype(), op, [&]<class T>() {
          Tensor scratch = scratch_of(kernels::cuda::soft_target_scratch<T>(n, gradients, detach_targets), t);
          kernels::cuda::soft_target_loss(loss, out, t.data<T>(), v.data<T>(), temperature.data<float>(),
                                          detach_targets, n, d, scratch.mutable_data<float>(), matmul_plans(t.device()),
                                          stream);
        });
      });
  return record(op, result.loss, {t, v, temperature},
                [pairs = result.pairs, dtau = result.scale, type = t.dtype(), shape = temperature.shape(),
                 needs_tau = temperature.needs_grad()](const Tensor& dy) {
                  const auto [dt, dv] = of_pairs(pairs, dy, type);
                  return Grads{dt, dv, needs_tau ? times(dtau, dy, shape) : Tensor()};
                });
}

Tensor info_nce(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& ids) {
  constexpr const char* op = "info_nce";
  check_pairs(text, image, op);
  check_number(logit_scale, text, op, "a logit scale");
  check_ids(ids, text, op);
  const Tensor t = operand(text), v = operand(image);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  const bool gradients = recording(t, v, logit_scale);
  Result result(t, gradients);
  float* const loss = result.loss.mutable_data<float>();
  const ContrastiveGradients out = result.pointers();
  on_device(
      t.device(), op,
      [&] {
        const float s = finite(logit_scale, op, "a logit scale");
        const Positives positive = positives(ids, n);
        Tensor scratch = scratch_of(kernels::info_nce_scratch(n, d), t);
        kernels::cpu::info_nce(loss, out, t.data<float>(), v.data<float>(), std::exp(std::min(s, max_logit_scale)),
                               positive.ids.data(), positive.share.data(), n, d, scratch.mutable_data<float>());
      },
      [&](auto stream) {
        const IdsThere positive(ids, t.device());
        dispatch_float(t.dtype(), op, [&]<class T>() {
          Tensor scratch = scratch_of(kernels::cuda::info_nce_scratch<T>(n, gradients), t);
          kernels::cuda::info_nce(loss, out, t.data<T>(), v.data<T>(), logit_scale.data<float>(), max_logit_scale,
                                  positive.pointer(), n, d, scratch.mutable_data<float>(), matmul_plans(t.device()),
                                  stream);
        });
      });
  return record(op, result.loss, {t, v, logit_scale},
                [pairs = result.pairs, ds = result.scale, logit_scale, type = t.dtype()](const Tensor& dy) {
                  Tensor dscale = empty_like(logit_scale);
                  float* const limited = dscale.mutable_data<float>();
                  on_device(
                      dy.device(), op,
                      [&] {
                        const float g = ds.item() * dy.item();  // a step against the gradient raises s where it is < 0
                        *limited = logit_scale.item() >= max_logit_scale ? std::max(g, 0.0f) : g;
                      },
                      [&](auto stream) {
                        kernels::cuda::info_nce_scale_gradient(limited, ds.data<float>(), dy.data<float>(),
                                                               logit_scale.data<float>(), max_logit_scale, stream);
                      });
                  const auto [dt, dv] = of_pairs(pairs, dy, type);
                  return Grads{dt, dv, dscale};
                });
}

Tensor siglip_loss(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& logit_bias,
                   const Tensor& ids) {
  constexpr const char* op = "siglip_loss";
  check_pairs(text, image, op);
  check_number(logit_scale, text, op, "a logit scale");
  check_number(logit_bias, text, op, "a logit bias");
  check_ids(ids, text, op);
  const Tensor t = operand(text), v = operand(image);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  const bool gradients = recording(t, v, logit_scale, logit_bias);
  Result result(t, gradients);
  float* const loss = result.loss.mutable_data<float>();
  const ContrastiveGradients out = result.pointers();
  on_device(
      t.device(), op,
      [&] {
        const float s = finite(logit_scale, op, "a logit scale"), b = finite(logit_bias, op, "a logit bias");
        const Positives positive = positives(ids, n);
        Tensor scratch = scratch_of(kernels::siglip_scratch(n, d), t);
        kernels::cpu::siglip_loss(loss, out, t.data<float>(), v.data<float>(), std::exp(s), b, positive.ids.data(), n,
                                  d, scratch.mutable_data<float>());
      },
      [&](auto stream) {
        const IdsThere positive(ids, t.device());
        dispatch_float(t.dtype(), op, [&]<class T>() {
          Tensor scratch = scratch_of(kernels::cuda::siglip_scratch<T>(n, gradients), t);
          kernels::cuda::siglip_loss(loss, out, t.data<T>(), v.data<T>(), logit_scale.data<float>(),
                                     logit_bias.data<float>(), positive.pointer(), n, d, scratch.mutable_data<float>(),
                                     matmul_plans(t.device()), stream);
        });
      });
  return record(op, result.loss, {t, v, logit_scale, logit_bias},
                [pairs = result.pairs, ds = result.scale, db = result.bias, type = t.dtype(),
                 scale_shape = logit_scale.shape(), bias_shape = logit_bias.shape()](const Tensor& dy) {
                  const auto [dt, dv] = of_pairs(pairs, dy, type);
                  return Grads{dt, dv, times(ds, dy, scale_shape), times(db, dy, bias_shape)};
                });
}

}  // namespace clip
