#include "clip/ops/projection_head.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/activation.hpp"
#include "kernels/matmul.hpp"
#include "kernels/projection_head.hpp"
#include "src/dispatch.hpp"
#include "src/ops/dropout_mask.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::MatmulShape;

constexpr const char* op = "projection_head";

/// What backward needs of the forward pass. z = dropout(y) + h; activated = gelu(h), undefined where one kernel makes
/// the whole gradient, because it makes that again.
struct Saved {
  Tensor x, h, activated, z, mean, rstd, projection, fc, norm;
  kernels::DropoutMask mask;
  bool needs_x;
};

/// Which of forward, and backward but for the products that the weights' and x's gradients are, one kernel does.
struct InOneKernel {
  bool forward, backward;
};
InOneKernel in_one_kernel(const Tensor& x, const ProjectionWeights& w, const Tensor& norm, const Tensor& norm_bias) {
  const std::int64_t rows = x.shape(0), in = x.shape(1), out = w.fc.shape(0);
  const bool fits = x.device().is_cuda() &&
                    kernels::cuda::whole_head_fits(x.dtype(), in, out,
                                                   {x.raw(), w.projection.raw(), w.projection_bias.raw(), w.fc.raw(),
                                                    w.fc_bias.raw(), norm.raw(), norm_bias.raw()});
  // Forward each block of threads reads all weights, however few its rows: at the 64 bytes a clock of an SM 0.1 MB in a
  // microsecond. Products with kernels between are three launches more, of about 2 us each, but have all SMs read. So
  // few rows take the one kernel for weights up to 640 KiB (768 to 256: 524 KB, 5 us; 2048 to 256: 1.2 MB, 11 us), and
  // others from where its tall blocks, which share what they read among 128 rows, fill half of a large GPU: 8192 rows
  // of 2048 to 256 then take it about 40 us, and products 12 us and 3.2 us for each 1000 rows. Backward a block reads
  // fc alone, 1.3 us for 256 columns and 5 us for 512, and saves two launches. None of this has been measured.
  return {fits && (rows >= 8192 || 2 * out * (in + out) <= 640 * 1024), fits};
}

Grads head_backward(Tensor dout, const Saved& saved) {
  const std::int64_t rows = saved.x.shape(0), in = saved.x.shape(1), out = saved.h.shape(1);
  const Tensor& like = saved.h;
  const bool whole = !saved.activated.defined();
  const std::int64_t blocks = whole                     ? kernels::cuda::whole_head_blocks(rows, out)
                              : like.device().is_cuda() ? kernels::cuda::column_sum_blocks(rows)
                                                        : kernels::cpu::column_sum_blocks(rows);
  if (whole && !kernels::cuda::whole_head_fits(like.dtype(), in, out, {dout.raw()})) dout = dout.clone();
  Tensor dh = empty_like(like), dy = whole || saved.mask.p > 0 ? empty_like(like) : dh;
  Tensor activated = whole ? empty_like(like) : saved.activated, dactivated = whole ? Tensor() : empty_like(like);
  Tensor dprojection = empty_like(saved.projection), dfc = empty_like(saved.fc);
  Tensor dx = saved.needs_x ? empty_like(saved.x) : Tensor();
  Tensor dprojection_bias({out}, like.dtype(), like.device()), dfc_bias = empty_like(dprojection_bias);
  Tensor dnorm({out}, dtype::f32, like.device()), dnorm_bias = empty_like(dnorm);
  Tensor tail_parts({blocks, 3, out}, dtype::f32, like.device()), h_parts({blocks, out}, dtype::f32, like.device());
  dispatch_float(like.dtype(), op, [&]<class T>() {
    T *const h_slope = dh.mutable_data<T>(), *const y_slope = dy.mutable_data<T>();
    T *const g_slope = whole ? nullptr : dactivated.mutable_data<T>(), *const w1 = dprojection.mutable_data<T>();
    T *const w2 = dfc.mutable_data<T>(), *const x_slope = saved.needs_x ? dx.mutable_data<T>() : nullptr;
    float *const tail = tail_parts.mutable_data<float>(), *const h_sums = h_parts.mutable_data<float>();
    const kernels::HeadTotals<T> totals{dnorm.mutable_data<float>(), dnorm_bias.mutable_data<float>(),
                                        dfc_bias.mutable_data<T>(), dprojection_bias.mutable_data<T>()};
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
          head_totals(totals, tail, h_sums, blocks, out);
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
          head_totals(totals, tail, h_sums, blocks, out, stream);
          matmul(w1, h_slope, saved.x.data<T>(), projection_back, {}, plans);
          if (saved.needs_x) matmul(x_slope, h_slope, saved.projection.data<T>(), h_back, {}, plans);
        });
  });
  return Grads{dx, dprojection, dprojection_bias, dfc, dfc_bias, dnorm, dnorm_bias};
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

  const InOneKernel one = in_one_kernel(x, weights, norm, norm_bias);
  const bool whole = one.forward;
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
                [saved = Saved{x, h, one.backward ? Tensor() : activated, z, mean, rstd, weights.projection, weights.fc,
                               norm, mask, x.needs_grad()}](const Tensor& dout) { return head_backward(dout, saved); });
}

}  // namespace clip
