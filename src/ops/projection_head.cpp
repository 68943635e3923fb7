#include "clip/ops/projection_head.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/activation.hpp"
#include "kernels/matmul.hpp"
#include "kernels/projection_head.hpp"
#include "kernels/reduce.hpp"
#include "src/dispatch.hpp"
#include "src/ops/dropout_mask.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::MatmulShape;

constexpr const char* op = "projection_head";

/// What backward needs of the forward pass. z = dropout(y) + h; activated = gelu(h), undefined where one kernel did the
/// whole head, because that of the gradient makes it again.
struct Saved {
  Tensor x, h, activated, z, mean, rstd, projection, fc, norm;
  kernels::DropoutMask mask;
  bool needs_x;
};

/// Whether one kernel does the whole head, and one its gradient but for the products that the weights' and x's are.
bool in_one_kernel(const Tensor& x, const ProjectionWeights& w, const Tensor& norm, const Tensor& norm_bias) {
  return x.device().is_cuda() &&
         kernels::cuda::whole_head_fits(x.dtype(), x.shape(1), w.fc.shape(0),
                                        {x.raw(), w.projection.raw(), w.projection_bias.raw(), w.fc.raw(),
                                         w.fc_bias.raw(), norm.raw(), norm_bias.raw()});
}

/// The sum over blocks of partial sums [blocks, count]. There may be no blocks.
Tensor sum_blocks(const Tensor& partial, std::int64_t count) {
  Tensor total({count}, dtype::f32, partial.device());
  float* out = total.mutable_data<float>();
  on_device(
      partial.device(), op, [&] { kernels::cpu::sum(out, partial.data<float>(), 1, partial.shape(0), total.numel()); },
      [&](auto stream) { kernels::cuda::sum(out, partial.data<float>(), 1, partial.shape(0), total.numel(), stream); });
  return total;
}

Grads head_backward(Tensor dout, const Saved& saved) {
  const std::int64_t rows = saved.x.shape(0), in = saved.x.shape(1), out = saved.h.shape(1);
  const Tensor& like = saved.h;
  const bool whole = !saved.activated.defined();
  const std::int64_t blocks = whole                     ? kernels::cuda::whole_head_blocks(rows, out)
                              : like.device().is_cuda() ? kernels::cuda::head_blocks(rows)
                                                        : kernels::head_blocks(rows);
  if (whole && !kernels::cuda::whole_head_fits(like.dtype(), in, out, {dout.raw()})) dout = dout.clone();
  Tensor dh = empty_like(like), dy = whole || saved.mask.p > 0 ? empty_like(like) : dh;
  Tensor activated = whole ? empty_like(like) : saved.activated, dactivated = whole ? Tensor() : empty_like(like);
  Tensor dprojection = empty_like(saved.projection), dfc = empty_like(saved.fc);
  Tensor dx = saved.needs_x ? empty_like(saved.x) : Tensor();
  Tensor tail_parts({blocks, 3, out}, dtype::f32, like.device()), h_parts({blocks, out}, dtype::f32, like.device());
  dispatch_float(like.dtype(), op, [&]<class T>() {
    T *const h_slope = dh.mutable_data<T>(), *const y_slope = dy.mutable_data<T>();
    T *const g_slope = whole ? nullptr : dactivated.mutable_data<T>(), *const w1 = dprojection.mutable_data<T>();
    T *const w2 = dfc.mutable_data<T>(), *const x_slope = saved.needs_x ? dx.mutable_data<T>() : nullptr;
    float *const tail = tail_parts.mutable_data<float>(), *const h_sums = h_parts.mutable_data<float>();
    const MatmulShape fc_back{.m = out, .n = out, .k = rows, .transpose_a = true},
        y_back{.m = rows, .n = out, .k = out};
    const MatmulShape projection_back{.m = out, .n = in, .k = rows, .transpose_a = true};
    const MatmulShape h_back{.m = rows, .n = in, .k = out};
    on_device(
        like.device(), op,
        [&] {
          using namespace kernels::cpu;
          head_tail_backward(h_slope, y_slope, tail, dout.data<T>(), saved.z.data<T>(), saved.mean.data<float>(),
                             saved.rstd.data<float>(), saved.norm.data<float>(), saved.mask, rows, out);
          matmul(w2, y_slope, activated.data<T>(), fc_back);
          matmul(g_slope, y_slope, saved.fc.data<T>(), y_back);
          head_gelu_backward(h_slope, h_sums, g_slope, saved.h.data<T>(), rows, out);
          matmul(w1, h_slope, saved.x.data<T>(), projection_back);
          if (saved.needs_x) matmul(x_slope, h_slope, saved.projection.data<T>(), h_back);
        },
        [&](auto stream) {
          using namespace kernels::cuda;
          MatmulPlans& plans = matmul_plans(like.device());
          if constexpr (sizeof(T) == 2)
            if (whole)
              whole_head_backward(h_slope, y_slope, activated.mutable_data<T>(), tail, h_sums, dout.data<T>(),
                                  saved.h.data<T>(), saved.z.data<T>(), saved.mean.data<float>(),
                                  saved.rstd.data<float>(), saved.norm.data<float>(), saved.fc.data<T>(), saved.mask,
                                  rows, out, stream);
          if (!whole)
            head_tail_backward(h_slope, y_slope, tail, dout.data<T>(), saved.z.data<T>(), saved.mean.data<float>(),
                               saved.rstd.data<float>(), saved.norm.data<float>(), saved.mask, rows, out, stream);
          matmul(w2, y_slope, activated.data<T>(), fc_back, {}, plans);
          if (!whole) {
            matmul(g_slope, y_slope, saved.fc.data<T>(), y_back, {}, plans);
            head_gelu_backward(h_slope, h_sums, g_slope, saved.h.data<T>(), rows, out, stream);
          }
          matmul(w1, h_slope, saved.x.data<T>(), projection_back, {}, plans);
          if (saved.needs_x) matmul(x_slope, h_slope, saved.projection.data<T>(), h_back, {}, plans);
        });
  });
  const Tensor sums = sum_blocks(tail_parts, 3 * out), dprojection_bias = sum_blocks(h_parts, out);
  const auto part = [&](std::int64_t i) { return sums.view(i * out, {out}); };
  return Grads{dx, dprojection, to(dprojection_bias, like.dtype()), dfc, to(part(2), like.dtype()), part(0), part(1)};
}

}  // namespace

Tensor projection_head(const Tensor& x, const ProjectionWeights& weights, const ProjectionOptions& options) {
  check_float(x, op, Kernels::cpu_and_cuda);
  for (const Tensor* t : {&weights.projection, &weights.projection_bias, &weights.fc, &weights.fc_bias, &weights.norm,
                          &weights.norm_bias})
    check_tensor(*t, op, Kernels::cpu_and_cuda);
  check(x.rank() == 2 && weights.projection.rank() == 2 && weights.projection.shape(1) == x.shape(1), op,
        "expected x [N, in] and a projection [out, in], got ", x.shape(), " and ", weights.projection.shape());
  check(options.dropout >= 0 && options.dropout <= 1, op, "expected a dropout within [0, 1], got ", options.dropout);
  check(options.eps >= 0, op, "expected eps >= 0, got ", options.eps);
  const std::int64_t rows = x.shape(0), in = x.shape(1), out = weights.projection.shape(0);
  const Tensor norm = to(weights.norm, dtype::f32), norm_bias = to(weights.norm_bias, dtype::f32);
  check_operand(op, "a projection", weights.projection, {out, in}, x);
  check_operand(op, "a projection bias", weights.projection_bias, {out}, x);
  check_operand(op, "fc", weights.fc, {out, out}, x);
  check_operand(op, "an fc bias", weights.fc_bias, {out}, x);
  for (const Tensor* t : {&norm, &norm_bias})
    check(t->shape() == Shape{out} && t->device() == x.device(), op, "expected norm's scale and shift ", Shape{out},
          " on ", x.device(), ", got ", t->shape(), " on ", t->device());

  const bool whole = in_one_kernel(x, weights, norm, norm_bias);
  const bool kept =
      !whole || recording(x, weights.projection, weights.projection_bias, weights.fc, weights.fc_bias, norm, norm_bias);
  kernels::DropoutMask mask;
  Tensor y({rows, out}, x.dtype(), x.device()), h = kept ? empty_like(y) : y, z = kept ? empty_like(y) : Tensor();
  Tensor activated = whole ? Tensor() : empty_like(y);
  if (options.random != nullptr && options.dropout > 0)
    mask = dropout_mask(options.dropout, *options.random, h.numel(), x.device(), op);
  Tensor mean({rows}, dtype::f32, x.device()), rstd = empty_like(mean);
  const auto packed_projection = packed_copies(weights.projection), packed_fc = packed_copies(weights.fc);
  dispatch_float(x.dtype(), op, [&]<class T>() {
    T *const h_out = h.mutable_data<T>(), *const activated_out = whole ? nullptr : activated.mutable_data<T>();
    T *const z_out = kept ? z.mutable_data<T>() : nullptr, *const y_out = y.mutable_data<T>();
    float *const mean_out = mean.mutable_data<float>(), *const rstd_out = rstd.mutable_data<float>();
    const MatmulShape first{.m = rows, .n = out, .k = in, .transpose_b = true};
    const MatmulShape second{.m = rows, .n = out, .k = out, .transpose_b = true};
    const kernels::Epilogue<T> first_bias{.bias = weights.projection_bias.data<T>()};
    const kernels::Epilogue<T> second_bias{.bias = weights.fc_bias.data<T>()};
    on_device(
        x.device(), op,
        [&] {
          using namespace kernels::cpu;
          matmul(h_out, x.data<T>(), weights.projection.data<T>(), first, first_bias, packed_projection.get());
          activation_forward(Activation::gelu, activated_out, h.data<T>(), h.numel());
          matmul(z_out, activated.data<T>(), weights.fc.data<T>(), second, second_bias, packed_fc.get());
          head_tail_forward(y_out, z_out, mean_out, rstd_out, h.data<T>(), norm.data<float>(), norm_bias.data<float>(),
                            options.eps, mask, rows, out);
        },
        [&](auto stream) {
          using namespace kernels::cuda;
          if constexpr (sizeof(T) == 2)
            if (whole)
              return whole_head_forward(
                  y_out, h_out, z_out, mean_out, rstd_out, x.data<T>(),
                  {weights.projection.data<T>(), weights.projection_bias.data<T>(), weights.fc.data<T>(),
                   weights.fc_bias.data<T>(), norm.data<float>(), norm_bias.data<float>()},
                  options.eps, mask, rows, in, out, stream);
          MatmulPlans& plans = matmul_plans(x.device());
          matmul(h_out, x.data<T>(), weights.projection.data<T>(), first, first_bias, plans);
          activation_forward(Activation::gelu, activated_out, h.data<T>(), h.numel(), stream);
          matmul(z_out, activated.data<T>(), weights.fc.data<T>(), second, second_bias, plans);
          head_tail_forward(y_out, z_out, mean_out, rstd_out, h.data<T>(), norm.data<float>(), norm_bias.data<float>(),
                            options.eps, mask, rows, out, stream);
        });
  });
  return record(op, y, {x, weights.projection, weights.projection_bias, weights.fc, weights.fc_bias, norm, norm_bias},
                [saved = Saved{x, h, activated, z, mean, rstd, weights.projection, weights.fc, norm, mask,
                               x.needs_grad()}](const Tensor& dout) { return head_backward(dout, saved); });
}

}  // namespace clip
