#include "clip/ops/contrastive_loss.hpp"

#include <cmath>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/contrastive.hpp"
#include "src/dispatch.hpp"

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

float number(const Tensor& t, const Tensor& text, const char* op, const char* what) {
  check_tensor(t, op, Kernels::cpu_and_cuda);
  check(t.numel() == 1 && t.dtype() == dtype::f32 && t.device() == text.device(), op, "expected ", what,
        ": one f32 number on ", text.device(), ", got ", t.dtype(), ' ', t.shape(), " on ", t.device());
  const float value = t.item();
  check(std::isfinite(value), op, "expected ", what, " that is finite", ", got ", value);
  return value;
}

/// Which pairs are each other's positives, and one over how many.
struct Positives {
  Tensor ids, share;  // i32 and f32 [n], on text's device
};
Positives positives(const Tensor& ids, const Tensor& text, const char* op) {
  const auto n = static_cast<std::size_t>(text.shape(0));
  std::vector<std::int32_t> values(n);
  std::vector<float> share(n, 1.0f);
  const auto result = [&] {
    return Positives{Tensor::from(values, text.shape().without(-1), text.device()),
                     Tensor::from(share, text.shape().without(-1), text.device())};
  };
  std::iota(values.begin(), values.end(), 0);
  if (!ids.defined()) return result();
  check(ids.dtype() == dtype::i32 && ids.shape() == Shape{text.shape(0)}, op, "expected ids i32 ", Shape{text.shape(0)},
        ", got ", ids.dtype(), ' ', ids.shape());
  values = ids.to_vector<std::int32_t>();
  std::unordered_map<std::int32_t, float> counts;
  for (const std::int32_t id : values) counts[id] += 1;
  for (std::size_t i = 0; i < n; ++i) share[i] = 1 / counts[values[i]];
  return result();
}

/// A loss and, where they are recorded, the gradients of all its inputs.
struct Result {
  Tensor loss, text, image, scale, bias;

  Result(const Tensor& like, bool gradients) : loss(Shape{}, dtype::f32, like.device()) {
    if (!gradients) return;
    text = empty_like(like);
    image = empty_like(like);
    scale = empty_like(loss);
    bias = empty_like(loss);
  }
  ContrastiveGradients pointers() {
    if (!text.defined()) return {};
    return {text.mutable_data<float>(), image.mutable_data<float>(), scale.mutable_data<float>(),
            bias.mutable_data<float>()};
  }
};

/// The gradient of an input, from the loss's.
Tensor times(const Tensor& gradient, float dloss) { return dloss == 1 ? gradient : scale(gradient, dloss); }

Tensor soft_targets(const Tensor& text, const Tensor& image, const Tensor& temperature, float tau,
                    bool detach_targets) {
  constexpr const char* op = "soft_target_loss";
  check(tau > 0 && std::isfinite(tau), op, "expected a temperature > 0, got ", tau);
  const Tensor t = to(text, dtype::f32), v = to(image, dtype::f32);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  const bool gradients = recording(t, v, temperature);
  Result result(t, gradients);
  {
    Tensor scratch({t.device().is_cpu() ? kernels::soft_target_scratch(n, d, gradients, detach_targets)
                                        : kernels::cuda::contrastive_scratch(n)},
                   dtype::f32, t.device());
    float *loss = result.loss.mutable_data<float>(), *memory = scratch.mutable_data<float>();
    const ContrastiveGradients out = result.pointers();
    on_device(
        t.device(), op,
        [&] {
          kernels::cpu::soft_target_loss(loss, out, t.data<float>(), v.data<float>(), tau, detach_targets, n, d,
                                         memory);
        },
        [&](auto stream) {
          kernels::cuda::soft_target_loss(loss, out, t.data<float>(), v.data<float>(), tau, detach_targets, n, d,
                                          memory, stream);
        });
  }
  return record(
      op, result.loss, {t, v, temperature},
      [dt = result.text, dv = result.image, dtau = result.scale, shape = temperature.shape()](const Tensor& dy) {
        const float dloss = dy.item();
        return Grads{times(dt, dloss), times(dv, dloss), times(dtau, dloss).view(0, shape)};
      });
}

}  // namespace

Tensor soft_target_loss(const Tensor& text, const Tensor& image, const ContrastiveOptions& options) {
  check_pairs(text, image, "soft_target_loss");
  return soft_targets(text, image, Tensor(), options.temperature, options.detach_targets);
}

Tensor soft_target_loss(const Tensor& text, const Tensor& image, const Tensor& temperature, bool detach_targets) {
  check_pairs(text, image, "soft_target_loss");
  const float tau = number(temperature, text, "soft_target_loss", "a temperature");
  return soft_targets(text, image, temperature, tau, detach_targets);
}

Tensor info_nce(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& ids) {
  check_pairs(text, image, "info_nce");
  const float s = number(logit_scale, text, "info_nce", "a logit scale");
  const float factor = std::exp(std::min(s, max_logit_scale));
  const Positives targets = positives(ids, text, "info_nce");
  const Tensor t = to(text, dtype::f32), v = to(image, dtype::f32);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  Result result(t, recording(t, v, logit_scale));
  {
    Tensor scratch({t.device().is_cpu() ? kernels::info_nce_scratch(n, d) : kernels::cuda::contrastive_scratch(n)},
                   dtype::f32, t.device());
    float *loss = result.loss.mutable_data<float>(), *memory = scratch.mutable_data<float>();
    const ContrastiveGradients out = result.pointers();
    on_device(
        t.device(), "info_nce",
        [&] {
          kernels::cpu::info_nce(loss, out, t.data<float>(), v.data<float>(), factor, targets.ids.data<std::int32_t>(),
                                 targets.share.data<float>(), n, d, memory);
        },
        [&](auto stream) {
          kernels::cuda::info_nce(loss, out, t.data<float>(), v.data<float>(), factor, targets.ids.data<std::int32_t>(),
                                  targets.share.data<float>(), n, d, memory, stream);
        });
  }
  return record("info_nce", result.loss, {t, v, logit_scale},
                [dt = result.text, dv = result.image, ds = result.scale, at_limit = s >= max_logit_scale,
                 shape = logit_scale.shape()](const Tensor& dy) {
                  const float dloss = dy.item();
                  const bool rises = ds.item() * dloss < 0;  // a step against the gradient would raise it
                  return Grads{
                      times(dt, dloss), times(dv, dloss),
                      at_limit && rises ? full(shape, 0, dtype::f32, ds.device()) : times(ds, dloss).view(0, shape)};
                });
}

Tensor siglip_loss(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& logit_bias,
                   const Tensor& ids) {
  check_pairs(text, image, "siglip_loss");
  const float s = number(logit_scale, text, "siglip_loss", "a logit scale");
  const float b = number(logit_bias, text, "siglip_loss", "a logit bias");
  const Positives targets = positives(ids, text, "siglip_loss");
  const Tensor t = to(text, dtype::f32), v = to(image, dtype::f32);
  const std::int64_t n = t.shape(0), d = t.shape(1);
  Result result(t, recording(t, v, logit_scale, logit_bias));
  {
    Tensor scratch({t.device().is_cpu() ? kernels::siglip_scratch(n, d) : kernels::cuda::contrastive_scratch(n)},
                   dtype::f32, t.device());
    float *loss = result.loss.mutable_data<float>(), *memory = scratch.mutable_data<float>();
    const ContrastiveGradients out = result.pointers();
    on_device(
        t.device(), "siglip_loss",
        [&] {
          kernels::cpu::siglip_loss(loss, out, t.data<float>(), v.data<float>(), std::exp(s), b,
                                    targets.ids.data<std::int32_t>(), n, d, memory);
        },
        [&](auto stream) {
          kernels::cuda::siglip_loss(loss, out, t.data<float>(), v.data<float>(), std::exp(s), b,
                                     targets.ids.data<std::int32_t>(), n, d, memory, stream);
        });
  }
  return record("siglip_loss", result.loss, {t, v, logit_scale, logit_bias},
                [dt = result.text, dv = result.image, ds = result.scale, db = result.bias,
                 scale_shape = logit_scale.shape(), bias_shape = logit_bias.shape()](const Tensor& dy) {
                  const float dloss = dy.item();
                  return Grads{times(dt, dloss), times(dv, dloss), times(ds, dloss).view(0, scale_shape),
                               times(db, dloss).view(0, bias_shape)};
                });
}

}  // namespace clip
