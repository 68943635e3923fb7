#include "kernels/conv2d.hpp"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/onednn.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/winograd.hpp"
#include "kernels/matmul.hpp"
#include "kernels/permute.hpp"

namespace clip::kernels::cpu {
namespace {

using dnnl::algorithm, dnnl::prop_kind;
using onednn::Call, onednn::Desc, onednn::Key, onednn::Tag, onednn::type_of;
using Dims = dnnl::memory::dims;

/// The operands as they lie in memory, and the weights in whichever layout oneDNN chooses.
struct Operands {
  Desc x, plain, w, bias, y;
  Dims stride, padding;
};

template <class T>
Operands operands(const Conv2dShape& s, bool bias) {
  constexpr auto type = type_of<T>;
  const Dims w{s.out, s.in, s.kernel_h, s.kernel_w};
  return {Desc({s.n, s.in, s.h, s.w}, type, Tag::nhwc),
          Desc(w, type, Tag::oihw),
          Desc(w, type, Tag::any),
          bias ? Desc({s.out}, type, Tag::a) : Desc(),
          Desc({s.n, s.out, s.out_h(), s.out_w()}, type, Tag::nhwc),
          {s.stride, s.stride},
          {s.padding, s.padding}};
}

dnnl::convolution_forward::primitive_desc describe_forward(const Operands& o, const dnnl::primitive_attr& attr,
                                                           prop_kind kind) {
  return onednn::describe<dnnl::convolution_forward>(attr, kind, algorithm::convolution_direct, o.x, o.w, o.bias, o.y,
                                                     o.stride, o.padding, o.padding);
}

template <class T>
Key key_of(const Conv2dShape& s, bool bias = false, bool accumulate = false, Activation activation = Activation::none) {
  return {static_cast<std::int64_t>(dtype_of<T>),
          s.n,
          s.h,
          s.w,
          s.in,
          s.out,
          s.kernel_h,
          s.kernel_w,
          s.stride,
          s.padding,
          bias,
          accumulate,
          static_cast<std::int64_t>(activation)};
}

/// A primitive, the layout it wants its weights in, and how to get from the plain layout there, or back.
struct Convolution {
  Call call;
  Desc plain, packed;
  Call reorder;
  bool is_plain() const { return plain == packed; }
  void* scratch() const { return onednn::scratch(packed.get_size()); }
};
struct Forward : Convolution {};
struct BackwardData : Convolution {};
struct BackwardWeights : Convolution {};

/// Plain weights, or a copy of them in the layout of `c` that lives until the next call.
onednn::Operand reordered(Convolution& c, const void* w) {
  if (c.is_plain()) return w;
  void* packed = c.scratch();
  c.reorder({w, packed});
  return packed;
}

/// `w` has elements of T, or where `converted` bf16 ones, which packing widens.
template <class T>
void forward(T* y, const T* x, const void* w, bool converted, const Conv2dShape& s, const Epilogue<T>& epilogue,
             PackedWeights* packed) {
  onednn::guarded("conv2d", [&] {
    if (winograd_pays<T>(s, epilogue.activation)) return winograd_forward(y, x, w, converted, s, epilogue, packed);
    const bool bias = epilogue.bias != nullptr;
    auto& c = onednn::cached<Forward>(key_of<T>(s, bias, epilogue.accumulate, epilogue.activation), [&] {
      const Operands o = operands<T>(s, bias);
      const auto desc = describe_forward(o, onednn::attributes(epilogue.accumulate, epilogue.activation),
                                         prop_kind::forward_inference);
      const Desc weights = desc.weights_desc();
      return Forward{
          {Call(dnnl::convolution_forward(desc),
                {{DNNL_ARG_DST, o.y}, {DNNL_ARG_SRC, o.x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_BIAS, o.bias}}),
           o.plain, weights, onednn::reorder(o.plain, weights)}};
    });
    if (packed != nullptr)
      c.call({y, x, packed->get(w, converted, c.plain, c.packed), epilogue.bias});
    else
      c.call({y, x, reordered(c, w), epilogue.bias});
  });
}

template <class T>
void backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s) {
  onednn::guarded("conv2d", [&] {
    if (winograd_pays<T>(s, Activation::none)) return winograd_backward_data(dx, dy, w, s);
    auto& c = onednn::cached<BackwardData>(key_of<T>(s), [&] {
      const Operands o = operands<T>(s, false);
      const auto desc = onednn::describe_backward<dnnl::convolution_backward_data>(
          describe_forward(o, {}, prop_kind::forward_training), algorithm::convolution_direct, o.x, o.w, o.y, o.stride,
          o.padding, o.padding);
      const Desc weights = desc.weights_desc();
      return BackwardData{{Call(dnnl::convolution_backward_data(desc),
                                {{DNNL_ARG_DIFF_SRC, o.x}, {DNNL_ARG_DIFF_DST, o.y}, {DNNL_ARG_WEIGHTS, weights}}),
                           o.plain, weights, onednn::reorder(o.plain, weights)}};
    });
    c.call({dx, dy, reordered(c, w)});
  });
}

template <class T>
void backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& s) {
  onednn::guarded("conv2d", [&] {
    auto& c = onednn::cached<BackwardWeights>(key_of<T>(s), [&] {
      const Operands o = operands<T>(s, false);
      const auto desc = onednn::describe_backward<dnnl::convolution_backward_weights>(
          describe_forward(o, {}, prop_kind::forward_training), algorithm::convolution_direct, o.x, o.w, o.y, o.stride,
          o.padding, o.padding);
      const Desc weights = desc.diff_weights_desc();
      return BackwardWeights{{Call(dnnl::convolution_backward_weights(desc),
                                   {{DNNL_ARG_DIFF_WEIGHTS, weights}, {DNNL_ARG_DIFF_DST, o.y}, {DNNL_ARG_SRC, o.x}}),
                              o.plain, weights, onednn::reorder(weights, o.plain)}};
    });
    if (c.is_plain()) return c.call({dw, dy, x});
    void* packed = c.scratch();
    c.call({packed, dy, x});
    c.reorder({packed, dw});
  });
}

/// Whether the gradient of the weights is better one matrix product with unfolded images: where windows step or rows
/// are short, oneDNN 2.6's own kernel falls to a sixth of its speed.
template <class T>
bool unfolds(const Conv2dShape& s) {
  constexpr std::int64_t most_bytes = 64 << 20;
  const std::int64_t window = s.kernel_h * s.kernel_w * s.in, windows = s.n * s.out_h() * s.out_w();
  return s.kernel_w > 1 && s.in >= 16 && (s.stride > 1 || s.out_w() < 4) &&
         windows * window * static_cast<std::int64_t>(sizeof(T)) <= most_bytes;
}

/// columns [n out_h out_w, kernel_h kernel_w in]: each window of x, zeros where it leaves the image.
template <class T>
void unfold(T* columns, const T* x, const Conv2dShape& s) {
  const std::int64_t row = s.kernel_w * s.in, window = s.kernel_h * row;
  parallel_rows(s.n * s.out_h(), s.out_w() * window, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t j = 0; j < s.out_w(); ++j)
        for (std::int64_t p = 0; p < s.kernel_h; ++p) {
          T* const to = columns + (r * s.out_w() + j) * window + p * row;
          const std::int64_t h = r % s.out_h() * s.stride + p - s.padding, w = j * s.stride - s.padding;
          if (h < 0 || h >= s.h) {
            std::fill_n(to, row, T(0.0f));
            continue;
          }
          const std::int64_t first = std::clamp<std::int64_t>(-w, 0, s.kernel_w);
          const std::int64_t last = std::clamp<std::int64_t>(s.w - w, first, s.kernel_w);
          std::fill_n(to, first * s.in, T(0.0f));
          std::copy_n(x + ((r / s.out_h() * s.h + h) * s.w + w + first) * s.in, (last - first) * s.in,
                      to + first * s.in);
          std::fill_n(to + last * s.in, (s.kernel_w - last) * s.in, T(0.0f));
        }
  });
}

/// dw = dy^T columns, whose columns then go where the weights have them.
template <class T>
void unfolded_backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& s) {
  const std::int64_t kernel = s.kernel_h * s.kernel_w, window = kernel * s.in, windows = s.n * s.out_h() * s.out_w();
  const auto bytes = [](std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(T); };
  const onednn::Buffer columns(bytes(windows * window)), product(bytes(s.out * window));
  unfold(static_cast<T*>(columns.data()), x, s);
  matmul(static_cast<T*>(product.data()), dy, static_cast<const T*>(columns.data()),
         {.m = s.out, .n = window, .k = windows, .transpose_a = true});
  permute(dw, product.data(), sizeof(T), 3, {s.out, kernel, s.in}, {0, 2, 1});
}

}  // namespace

template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const Conv2dShape& s, const Epilogue<T>& epilogue,
                    PackedWeights* packed) {
  if (s.y_size() == 0) return;
  if (s.x_size() == 0 || s.w_size() == 0)  // nothing to sum
    return matmul<T>(y, nullptr, nullptr, {.m = s.y_size() / s.out, .n = s.out}, epilogue);
  if constexpr (std::is_same_v<T, bf16>) {
    if (!onednn::computes_bf16()) {
      const onednn::Floats x_floats(x, s.x_size()), bias(epilogue.bias, s.out);
      const onednn::Floats w_floats(packed == nullptr ? w : nullptr, s.w_size());
      const onednn::Floats sums = epilogue.accumulate ? onednn::Floats(y, s.y_size()) : onednn::Floats(s.y_size());
      forward<float>(sums.data(), x_floats.data(), packed == nullptr ? static_cast<const void*>(w_floats.data()) : w,
                     packed != nullptr, s, {bias.data(), epilogue.accumulate, epilogue.activation}, packed);
      return sums.store(y, s.y_size());
    }
  }
  forward(y, x, w, false, s, epilogue, packed);
}

template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s) {
  if (s.x_size() == 0) return;
  if (s.y_size() == 0 || s.w_size() == 0) {
    std::fill_n(dx, s.x_size(), T(0.0f));
    return;
  }
  if constexpr (std::is_same_v<T, bf16>) {
    // oneDNN 2.6 gets this gradient of 1x1 kernels wrong when the number of output channels is odd
    const bool wrong = s.kernel_h * s.kernel_w == 1 && s.out % 2 == 1;
    if (wrong || !onednn::computes_bf16()) {
      const onednn::Floats dy_floats(dy, s.y_size()), w_floats(w, s.w_size()), dx_floats(s.x_size());
      backward_data(dx_floats.data(), dy_floats.data(), w_floats.data(), s);
      return dx_floats.store(dx, s.x_size());
    }
  }
  backward_data(dx, dy, w, s);
}

template <class T>
void conv2d_backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& s) {
  if (s.w_size() == 0) return;
  if (s.x_size() == 0 || s.y_size() == 0) {
    std::fill_n(dw, s.w_size(), T(0.0f));
    return;
  }
  if (unfolds<T>(s)) return unfolded_backward_weights(dw, dy, x, s);
  if constexpr (std::is_same_v<T, bf16>) {
    if (!onednn::computes_bf16()) {
      const onednn::Floats dy_floats(dy, s.y_size()), x_floats(x, s.x_size()), dw_floats(s.w_size());
      backward_weights(dw_floats.data(), dy_floats.data(), x_floats.data(), s);
      return dw_floats.store(dw, s.w_size());
    }
  }
  backward_weights(dw, dy, x, s);
}

template void conv2d_forward(float*, const float*, const float*, const Conv2dShape&, const Epilogue<float>&,
                             PackedWeights*);
template void conv2d_forward(bf16*, const bf16*, const bf16*, const Conv2dShape&, const Epilogue<bf16>&,
                             PackedWeights*);
template void conv2d_backward_data(float*, const float*, const float*, const Conv2dShape&);
template void conv2d_backward_data(bf16*, const bf16*, const bf16*, const Conv2dShape&);
template void conv2d_backward_weights(float*, const float*, const float*, const Conv2dShape&);
template void conv2d_backward_weights(bf16*, const bf16*, const bf16*, const Conv2dShape&);

}  // namespace clip::kernels::cpu
