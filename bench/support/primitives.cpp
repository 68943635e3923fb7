#include "bench/support/primitives.hpp"

#include <memory>
#include <unordered_map>
#include <utility>

#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"
#include "kernels/cpu/onednn.hpp"

namespace clip::bench {
namespace {

using namespace kernels::cpu;
using dnnl::memory;

auto type_for(dtype type) { return type == dtype::bf16 ? onednn::type_of<bf16> : onednn::type_of<float>; }

/// The primitive `desc` describes, on random x, w and bias; its weights come in the layout `w_plain`.
template <class Kind, class Desc>
std::function<void()> prepare(const Desc& desc, dtype type, const memory::desc& w_plain, const Shape& x_shape,
                              const Shape& w_shape, const Shape& y_shape, std::int64_t out) {
  Random random(1);
  const Tensor x = randn(x_shape, random, type), bias = randn({out}, random, type), w = randn(w_shape, random, type);
  const Tensor y = zeros(y_shape, type);
  const auto wrap = [](const memory::desc& as, const Tensor& t) {
    return memory(as, onednn::engine(), const_cast<void*>(t.raw()));
  };
  memory packed(desc.weights_desc(), onednn::engine()), plain = wrap(w_plain, w);
  dnnl::reorder(plain, packed).execute(onednn::stream(), plain, packed);
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, wrap(desc.src_desc(), x)},
      {DNNL_ARG_WEIGHTS, packed},
      {DNNL_ARG_BIAS, wrap(desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_BIAS), bias)},
      {DNNL_ARG_DST, wrap(desc.dst_desc(), y)}};
  return
      [kind = Kind(desc), arguments = std::move(arguments), x, bias, y] { kind.execute(onednn::stream(), arguments); };
}

}  // namespace

Primitive bare_linear(dtype type, std::int64_t rows, std::int64_t in, std::int64_t out, Activation activation) {
  const auto t = type_for(type);
  const memory::desc x({rows, in}, t, onednn::Tag::ab), y({rows, out}, t, onednn::Tag::ab);
  const auto desc = onednn::describe<dnnl::matmul>(onednn::attributes(false, activation), x,
                                                   memory::desc({in, out}, t, onednn::Tag::any),
                                                   memory::desc({1, out}, t, onednn::Tag::ab), y);
  return {2 * rows * in * out, prepare<dnnl::matmul>(desc, type, memory::desc({in, out}, t, onednn::Tag::ba),
                                                     {rows, in}, {out, in}, {rows, out}, out)};
}

Primitive bare_conv2d(dtype type, const ConvSize& s, Activation activation, bool accumulate) {
  const auto t = type_for(type);
  const std::int64_t padding = s.kernel / 2, end = (s.size + 2 * padding - s.kernel) / s.stride + 1;
  const memory::dims kernel{s.out, s.in, s.kernel, s.kernel}, pad{padding, padding};
  const auto desc = onednn::describe<dnnl::convolution_forward>(
      onednn::attributes(accumulate, activation), dnnl::prop_kind::forward_inference,
      dnnl::algorithm::convolution_direct, memory::desc({s.images, s.in, s.size, s.size}, t, onednn::Tag::nhwc),
      memory::desc(kernel, t, onednn::Tag::any), memory::desc({s.out}, t, onednn::Tag::a),
      memory::desc({s.images, s.out, end, end}, t, onednn::Tag::nhwc), memory::dims{s.stride, s.stride}, pad, pad);
  return {2 * s.images * end * end * s.out * s.in * s.kernel * s.kernel,
          prepare<dnnl::convolution_forward>(desc, type, memory::desc(kernel, t, onednn::Tag::oihw),
                                             {s.images, s.size, s.size, s.in}, {s.out, s.in, s.kernel, s.kernel},
                                             {s.images, end, end, s.out}, s.out)};
}

}  // namespace clip::bench
