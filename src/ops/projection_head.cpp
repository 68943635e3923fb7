#include "clip/ops/projection_head.hpp"

#include <utility>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/matmul.hpp"
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

/// What the forward pass makes: activated = gelu(h), z = dropout(y) + h, and mean and rstd of its rows.
struct Forward {
  Tensor out, h, activated, z, mean, rstd;
};

/// What backward needs; of the forward pass all but out, and `activated` unless one kernel makes that again.
struct Saved {
  Tensor x, projection, fc, norm;
  Forward made;
  kernels::DropoutMask mask;
  bool needs_x;
};

/// What backward makes before the gradients of the projection and of x, with the sums over rows that blocks made.
struct RowGradients {
  Tensor dh, dfc, tail_parts, h_parts;
};

/// Which of forward, and backward but for the products that the weights' and x's gradients are, one kernel does.
struct InOneKernel {
  bool forward, backward;
};
InOneKernel in_one_kernel(const Tensor& x, const ProjectionWeights& w) {
  const std::int64_t rows = x.shape(0), in = x.shape(1), out = w.fc.shape(0);
  const bool fits = x.device().is_cuda() &&
                    kernels::cuda::whole_head_fits(x.dtype(), in, out,
                                                   {x.raw(), w.projection.raw(), w.projection_bias.raw(), w.fc.raw(),
                                                    w.fc_bias.raw(), w.norm.raw(), w.norm_bias.raw()});
  // Forward each block of threads reads all weights, however few its rows: at the 64 bytes a clock of an SM 0.1 MB in a
  // microsecond. Products with kernels between are three launches more, of about 2 us each, but have all SMs read. So
  // few rows take the one kernel for weights up to 640 KiB (768 to 256: 524 KB, 5 us; 2048 to 256: 1.2 MB, 11 us), and
  // others from where its tall blocks, which share what they read among 128 rows, fill half of a large GPU: 8192 rows
  // of 2048 to 256 then take it about 40 us, and products 12 us and 3.2 us for each 1000 rows. Backward a block reads
  // fc alone, 1.3 us for 256 columns and 5 us for 512, and saves two launches. None of this has been measured.
  return {fits && (rows >= 8192 || 2 * out * (in + out) <= 640 * 1024), fits};
}

/// By one kernel, of a GPU and for bf16. Unless `recorded`, h has the memory of out and there is no z.
Forward forward_in_one(const Tensor& x, const ProjectionWeights& w, float eps, const kernels::DropoutMask& mask,
                       bool recorded) {
  const std::int64_t rows = x.shape(0), out = w.fc.shape(0);
  Tensor y({rows, out}, x.dtype(), x.device());
  Tensor h = recorded ? empty_like(y) : y, z = recorded ? empty_like(y) : Tensor();
  Tensor mean({rows}, dtype::f32, x.device()), rstd = empty_like(mean);
  on_device(
      x.device(), op, [] {},
      [&](auto stream) {
        const kernels::cuda::HeadWeights<bf16> weights{w.projection.data<bf16>(), w.projection_bias.data<bf16>(),
                                                       w.fc.data<bf16>(),         w.fc_bias.data<bf16>(),
                                                       w.norm.data<float>(),      w.norm_bias.data<float>()};
        kernels::cuda::whole_head_forward(y.mutable_data<bf16>(), h.mutable_data<bf16>(),
                                          recorded ? z.mutable_data<bf16>() : nullptr, mean.mutable_data<float>(),
                                          rstd.mutable_data<float>(), x.data<bf16>(), weights, eps, mask, rows,
                                          x.shape(1), out, stream);
      });
  return {y, h, Tensor(), z, mean, rstd};
}

/// By two products and kernels between.
Forward forward_in_steps(const Tensor& x, const ProjectionWeights& w, float eps, const kernels::DropoutMask& mask) {
  const std::int64_t rows = x.shape(0), out = w.fc.shape(0);
  Tensor y({rows, out}, x.dtype(), x.device()), h = empty_like(y), activated = empty_like(y), z = empty_like(y);
  Tensor mean({rows}, dtype::f32, x.device()), rstd = empty_like(mean);
  const auto packed_projection = packed_copies(w.projection), packed_fc = packed_copies(w.fc);
  const MatmulShape first{.m = rows, .n = out, .k = x.shape(1), .transpose_b = true};
  const MatmulShape second{.m = rows, .n = out, .k = out, .transpose_b = true};
  const float *const norm = w.norm.data<float>(), *const norm_bias = w.norm_bias.data<float>();
  dispatch_float(x.dtype(), op, [&]<class T>() {
    T *const h_out = h.mutable_data<T>(), *const activated_out = activated.mutable_data<T>();
    T *const z_out = z.mutable_data<T>(), *const y_out = y.mutable_data<T>();
    float *const mean_out = mean.mutable_data<float>(), *const rstd_out = rstd.mutable_data<float>();
    const kernels::Epilogue<T> first_bias{.bias = w.projection_bias.data<T>()};
    const kernels::Epilogue<T> second_bias{.bias = w.fc_bias.data<T>()};
    on_device(
        x.device(), op,
        [&] {
          using namespace kernels::cpu;
          matmul(h_out, x.data<T>(), w.projection.data<T>(), first, first_bias, packed_projection.get());
          activation_forward(Activation::gelu, activated_out, h.data<T>(), h.numel());
          matmul(z_out, activated.data<T>(), w.fc.data<T>(), second, second_bias, packed_fc.get());
          head_tail_forward(y_out, z_out, mean_out, rstd_out, h.data<T>(), norm, norm_bias, eps, mask, rows, out);
        },
        [&](auto stream) {
          using namespace kernels::cuda;
          MatmulPlans& plans = matmul_plans(x.device());
          matmul(h_out, x.data<T>(), w.projection.data<T>(), first, first_bias, plans);
          activation_forward(Activation::gelu, activated_out, h.data<T>(), h.numel(), stream);
          matmul(z_out, activated.data<T>(), w.fc.data<T>(), second, second_bias, plans);
          head_tail_forward(y_out, z_out, mean_out, rstd_out, h.data<T>(), norm, norm_bias, eps, mask, rows, out,
                            stream);
        });
  });
  return {y, h, activated, z, mean, rstd};
}

/// By one kernel, of a GPU and for bf16.
RowGradients rows_backward_in_one(Tensor dout, const Saved& saved) {
  const Forward& made = saved.made;
  const std::int64_t rows = dout.shape(0), out = dout.shape(1);
  const std::int64_t blocks = kernels::cuda::whole_head_blocks(rows, out);
  if (!kernels::cuda::whole_head_fits(dout.dtype(), saved.x.shape(1), out, {dout.raw()})) dout = dout.clone();
  Tensor dh = empty_like(dout), dy = empty_like(dout), activated = empty_like(dout);
  Tensor tail_parts({blocks, 3, out}, dtype::f32, dout.device()), h_parts({blocks, out}, dtype::f32, dout.device());
  on_device(
      dout.device(), op, [] {},
      [&](auto stream) {
        kernels::cuda::whole_head_backward(
            dh.mutable_data<bf16>(), dy.mutable_data<bf16>(), activated.mutable_data<bf16>(),
            tail_parts.mutable_data<float>(), h_parts.mutable_data<float>(), dout.data<bf16>(), made.h.data<bf16>(),
            made.z.data<bf16>(), made.mean.data<float>(), made.rstd.data<float>(), saved.norm.data<float>(),
            saved.fc.data<bf16>(), saved.mask, rows, out, stream);
      });
  return {dh, matmul(dy, activated, {.transpose_a = true}), tail_parts, h_parts};
}

/// By a product with a kernel before and one after.
RowGradients rows_backward_in_steps(const Tensor& dout, const Saved& saved) {
  const Forward& made = saved.made;
  const std::int64_t rows = dout.shape(0), out = dout.shape(1);
  const std::int64_t blocks =
      dout.device().is_cpu() ? kernels::cpu::column_sum_blocks(rows) : kernels::cuda::column_sum_blocks(rows);
  Tensor dh = empty_like(dout), dy = saved.mask.p > 0 ? empty_like(dout) : dh;
  Tensor tail_parts({blocks, 3, out}, dtype::f32, dout.device()), h_parts({blocks, out}, dtype::f32, dout.device());
  float *const tail = tail_parts.mutable_data<float>(), *const h_sums = h_parts.mutable_data<float>();
  const float *const mean = made.mean.data<float>(), *const rstd = made.rstd.data<float>();
  const float* const norm = saved.norm.data<float>();
  dispatch_float(dout.dtype(), op, [&]<class T>() {
    T *const dz_out = dh.mutable_data<T>(), *const dy_out = dy.mutable_data<T>();
    const T *const slope = dout.data<T>(), *const z = made.z.data<T>();
    on_device(
        dout.device(), op,
        [&] {
          kernels::cpu::head_tail_backward(dz_out, dy_out, tail, slope, z, mean, rstd, norm, saved.mask, rows, out);
        },
        [&](auto stream) {
          kernels::cuda::head_tail_backward(dz_out, dy_out, tail, slope, z, mean, rstd, norm, saved.mask, rows, out,
                                            stream);
        });
  });
  const Tensor dfc = matmul(dy, made.activated, {.transpose_a = true});  // before dh, which dy may be, changes
  const Tensor dactivated = matmul(dy, saved.fc);
  dispatch_float(dout.dtype(), op, [&]<class T>() {
    T* const dh_out = dh.mutable_data<T>();
    const T *const slope = dactivated.data<T>(), *const h = made.h.data<T>();
    on_device(
        dout.device(), op, [&] { kernels::cpu::head_gelu_backward(dh_out, h_sums, slope, h, rows, out); },
        [&](auto stream) { kernels::cuda::head_gelu_backward(dh_out, h_sums, slope, h, rows, out, stream); });
  });
  return {dh, dfc, tail_parts, h_parts};
}

Grads head_backward(const Tensor& dout, const Saved& saved) {
  const RowGradients made =
      saved.made.activated.defined() ? rows_backward_in_steps(dout, saved) : rows_backward_in_one(dout, saved);
  const std::int64_t out = dout.shape(1), blocks = made.h_parts.shape(0);
  Tensor dprojection_bias({out}, dout.dtype(), dout.device()), dfc_bias = empty_like(dprojection_bias);
  Tensor dnorm({out}, dtype::f32, dout.device()), dnorm_bias = empty_like(dnorm);
  const float *const tail = made.tail_parts.data<float>(), *const h_sums = made.h_parts.data<float>();
  dispatch_float(dout.dtype(), op, [&]<class T>() {
    const kernels::HeadTotals<T> totals{dnorm.mutable_data<float>(), dnorm_bias.mutable_data<float>(),
                                        dfc_bias.mutable_data<T>(), dprojection_bias.mutable_data<T>()};
    on_device(
        dout.device(), op, [&] { kernels::cpu::head_totals(totals, tail, h_sums, blocks, out); },
        [&](auto stream) { kernels::cuda::head_totals(totals, tail, h_sums, blocks, out, stream); });
  });
  const Tensor dprojection = matmul(made.dh, saved.x, {.transpose_a = true});
  const Tensor dx = saved.needs_x ? matmul(made.dh, saved.projection) : Tensor();
  return Grads{dx, dprojection, dprojection_bias, made.dfc, dfc_bias, dnorm, dnorm_bias};
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
  const std::int64_t in = x.shape(1), out = weights.projection.shape(0);
  const Tensor norm = to(weights.norm, dtype::f32), norm_bias = to(weights.norm_bias, dtype::f32);
  check_operand(op, "a projection", weights.projection, {out, in}, x);
  check_operand(op, "a projection bias", weights.projection_bias, {out}, x);
  check_operand(op, "fc", weights.fc, {out, out}, x);
  check_operand(op, "an fc bias", weights.fc_bias, {out}, x);
  for (const Tensor* t : {&norm, &norm_bias})
    check(t->shape() == Shape{out} && t->device() == x.device(), op, "expected norm's scale and shift ", Shape{out},
          " on ", x.device(), ", got ", t->shape(), " on ", t->device());

  const ProjectionWeights w{weights.projection, weights.projection_bias, weights.fc, weights.fc_bias, norm, norm_bias};
  kernels::DropoutMask mask;
  if (options.random != nullptr && options.dropout > 0)
    mask = dropout_mask(options.dropout, *options.random, x.shape(0) * out, x.device(), op);
  const InOneKernel one = in_one_kernel(x, w);
  const bool recorded = recording(x, w.projection, w.projection_bias, w.fc, w.fc_bias, norm, norm_bias);
  Forward made =
      one.forward ? forward_in_one(x, w, options.eps, mask, recorded) : forward_in_steps(x, w, options.eps, mask);
  const Tensor y = std::exchange(made.out, Tensor());
  if (one.backward) made.activated = Tensor();
  return record(op, y, {x, w.projection, w.projection_bias, w.fc, w.fc_bias, norm, norm_bias},
                [saved = Saved{x, w.projection, w.fc, norm, made, mask, x.needs_grad()}](const Tensor& dout) {
                  return head_backward(dout, saved);
                });
}

}  // namespace clip
