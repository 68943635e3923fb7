#include "clip/ops/conv2d.hpp"

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/graph.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/permute.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/conv2d.hpp"
#include "src/dispatch.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::Conv2dShape, kernels::MatmulShape;

/// Whether this is a matrix product of pixels and weights, y = x w^T, which cuBLASLt does with all of its epilogue.
bool is_product(const Conv2dShape& s) { return s.kernel_h == 1 && s.kernel_w == 1 && s.stride == 1 && s.padding == 0; }

/// Copies of weights as the GPU's kernels read them, kept beside the weights.
struct ChannelsLast {
  struct Copy {
    const void* of;
    Shape shape;
    Tensor tensor;
  };
  std::mutex mutex;
  std::vector<Copy> copies;
};
std::shared_ptr<void> make_channels_last() { return std::make_shared<ChannelsLast>(); }

/// What only the GPU needs: members, because functions would be unused in builds without CUDA.
struct Gpu {
  /// The convolutions that the context of a GPU has planned.
  static kernels::cuda::ConvolutionPlans& plans(const Device& device) {
    return *static_cast<kernels::cuda::ConvolutionPlans*>(device.kept(kernels::cuda::make_convolution_plans));
  }

  /// y = x w^T.
  static MatmulShape product(const Conv2dShape& s) {
    return {.m = s.n * s.h * s.w, .n = s.out, .k = s.in, .transpose_b = true};
  }

  static Tensor permuted(const Tensor& w) {
    const NoGrad guard;
    return permute(w.detach(), {0, 2, 3, 1});
  }

  /// w [out, in, h, w] as [out, h, w, in], made once where it is not trained.
  static Tensor channels_last(const Tensor& w) {
    if (w.needs_grad()) return permuted(w);
    const bool capturing = w.device().capturing();
    const auto kept = std::static_pointer_cast<ChannelsLast>(w.storage()->derived(make_channels_last));
    const std::lock_guard lock(kept->mutex);
    for (const ChannelsLast::Copy& copy : kept->copies)
      if (copy.of == w.raw() && copy.shape == w.shape()) {
        if (capturing) follow(copy.tensor, w);
        return copy.tensor;
      }
    if (capturing) return permuted(w);  // it has no values before a replay
    return kept->copies.emplace_back(ChannelsLast::Copy{w.raw(), w.shape(), permuted(w)}).tensor;
  }

  /// Has replays of the graph that is recorded see what w has then: its copy is made again where w was written to.
  static void follow(Tensor copy, const Tensor& w) {
    Graph::before_replay(w.device(), [copy = std::move(copy), w = w.detach(), seen = w.storage()->version()]() mutable {
      if (w.storage()->version() == seen) return;
      seen = w.storage()->version();
      copy.copy_from(permuted(w));
    });
  }
};

Tensor compute(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor residual, Activation f,
               const Conv2dShape& shape) {
  const bool accumulate = residual.defined();
  Tensor y = output_from(std::move(residual), {shape.n, shape.out_h(), shape.out_w(), shape.out}, x);
  const auto packed = packed_copies(w);
  dispatch_float(x.dtype(), "conv2d", [&]<class T>() {
    T* sums = y.mutable_data<T>();
    const kernels::Epilogue<T> epilogue{bias.defined() ? bias.data<T>() : nullptr, accumulate, f};
    on_device(
        x.device(), "conv2d",
        [&] { kernels::cpu::conv2d_forward(sums, x.data<T>(), w.data<T>(), shape, epilogue, packed.get()); },
        [&](auto) {
          using namespace kernels::cuda;
          if (is_product(shape))
            return matmul(sums, x.data<T>(), w.data<T>(), Gpu::product(shape), epilogue, matmul_plans(x.device()));
          const Tensor filters = Gpu::channels_last(w);
          conv2d_forward(sums, x.data<T>(), filters.data<T>(), shape, epilogue, Gpu::plans(x.device()));
        });
  });
  return y;
}

Tensor gradient_x(const Tensor& dy, const Tensor& w, const Conv2dShape& shape) {
  Tensor dx({shape.n, shape.h, shape.w, shape.in}, dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "conv2d", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        dy.device(), "conv2d", [&] { kernels::cpu::conv2d_backward_data(out, dy.data<T>(), w.data<T>(), shape); },
        [&](auto) {
          using namespace kernels::cuda;
          const MatmulShape back{.m = Gpu::product(shape).m, .n = shape.in, .k = shape.out};
          if (is_product(shape)) return matmul(out, dy.data<T>(), w.data<T>(), back, {}, matmul_plans(dy.device()));
          const Tensor filters = Gpu::channels_last(w);
          conv2d_backward_data(out, dy.data<T>(), filters.data<T>(), shape, Gpu::plans(dy.device()));
        });
  });
  return dx;
}

Tensor gradient_w(const Tensor& dy, const Tensor& x, const Conv2dShape& shape) {
  const bool turned = dy.device().is_cuda() && !is_product(shape);
  Tensor dw(turned ? Shape{shape.out, shape.kernel_h, shape.kernel_w, shape.in}
                   : Shape{shape.out, shape.in, shape.kernel_h, shape.kernel_w},
            dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "conv2d", [&]<class T>() {
    T* out = dw.mutable_data<T>();
    on_device(
        dy.device(), "conv2d", [&] { kernels::cpu::conv2d_backward_weights(out, dy.data<T>(), x.data<T>(), shape); },
        [&](auto) {
          using namespace kernels::cuda;
          const MatmulShape back{.m = shape.out, .n = shape.in, .k = Gpu::product(shape).m, .transpose_a = true};
          if (is_product(shape)) return matmul(out, dy.data<T>(), x.data<T>(), back, {}, matmul_plans(dy.device()));
          conv2d_backward_weights(out, dy.data<T>(), x.data<T>(), shape, Gpu::plans(dy.device()));
        });
  });
  return turned ? permute(dw, {0, 3, 1, 2}) : dw;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dOptions options) {
  check_float(x, "conv2d", Kernels::cpu_and_cuda);
  check_tensor(w, "conv2d", Kernels::cpu_and_cuda);
  check(x.rank() == 4, "conv2d", "expected images [N, H, W, C], got shape ", x.shape());
  check(w.rank() == 4, "conv2d", "expected weights [out, in, kernel height, kernel width], got shape ", w.shape());
  check(x.shape(3) == w.shape(1), "conv2d", "expected as many channels in images as in weights, got ", x.shape(),
        " and ", w.shape());
  check(options.stride >= 1 && options.stride <= std::int64_t{1} << 30, "conv2d",
        "expected a stride in [1, 2^30], got ", options.stride);
  check(options.padding >= 0 && options.padding <= std::int64_t{1} << 30, "conv2d",
        "expected a padding in [0, 2^30], got ", options.padding);
  const Conv2dShape shape{.n = x.shape(0),
                          .h = x.shape(1),
                          .w = x.shape(2),
                          .in = w.shape(1),
                          .out = w.shape(0),
                          .kernel_h = w.shape(2),
                          .kernel_w = w.shape(3),
                          .stride = options.stride,
                          .padding = options.padding};
  check(shape.kernel_h >= 1 && shape.kernel_h <= shape.h + 2 * shape.padding && shape.kernel_w >= 1 &&
            shape.kernel_w <= shape.w + 2 * shape.padding,
        "conv2d", "expected a kernel within the padded image, got weights ", w.shape(), " for images ", x.shape(),
        " and padding ", shape.padding);
  check_operand("conv2d", "weights", w, w.shape(), x);
  check_operand("conv2d", "a bias", bias, {shape.out}, x);
  check_operand("conv2d", "a residual", options.residual, {shape.n, shape.out_h(), shape.out_w(), shape.out}, x);
  if (!recording(x, w, bias, options.residual))
    return compute(x, w, bias, std::move(options.residual), options.activation, shape);

  const Tensor needed_x = w.needs_grad() ? x : Tensor(), needed_w = x.needs_grad() ? w : Tensor();
  const Tensor y = record(
      "conv2d", compute(x, w, bias, options.residual, Activation::none, shape), {x, w, bias, options.residual},
      [x = needed_x, w = needed_w, bias = bias.needs_grad(), shape](const Tensor& dy) {
        return Grads{w.defined() ? gradient_x(dy, w, shape) : Tensor(),
                     x.defined() ? gradient_w(dy, x, shape) : Tensor(), bias ? sum_to(dy, {shape.out}) : Tensor(), dy};
      });
  return activation(y, options.activation);
}

}  // namespace clip
