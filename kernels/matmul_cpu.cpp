#include "kernels/matmul.hpp"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/onednn.hpp"

namespace clip::kernels::cpu {
namespace {

using onednn::Desc, onednn::Tag, onednn::type_of;

struct Product {
  onednn::Call call;
  Desc b, packed_b;
};

/// A dense operand of `batch` matrices; without a batch dimension when there is only one.
Desc operand(std::int64_t batch, bool shared, std::int64_t rows, std::int64_t cols, bool transposed,
             dnnl::memory::data_type type) {
  if (batch == 1) return Desc({rows, cols}, type, transposed ? Tag::ba : Tag::ab);
  return Desc({shared ? 1 : batch, rows, cols}, type, transposed ? Tag::acb : Tag::abc);
}

template <class T>
Product make(const MatmulShape& s, bool bias, bool accumulate, Activation activation, bool packed) {
  constexpr auto type = type_of<T>;
  const Desc a = operand(s.batch, s.share_a, s.m, s.k, s.transpose_a, type);
  const Desc b = operand(s.batch, s.share_b, s.k, s.n, s.transpose_b, type);
  const Desc y = operand(s.batch, false, s.m, s.n, false, type);
  const Desc row = bias ? operand(s.batch, true, 1, s.n, false, type) : Desc();
  const auto desc = onednn::describe<dnnl::matmul>(onednn::attributes(accumulate, activation), a,
                                                   packed ? Desc({s.k, s.n}, type, Tag::any) : b, row, y);
  return {onednn::Call(
              dnnl::matmul(desc),
              {{DNNL_ARG_DST, y}, {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_BIAS, row}}),
          b, desc.weights_desc()};
}

/// `b` has elements of T, or where `converted` bf16 ones, which packing widens.
template <class T>
void multiply(T* y, const T* a, const void* b, bool converted, MatmulShape s, const Epilogue<T>& epilogue,
              PackedWeights* packed) {
  onednn::guarded("matmul", [&] {
    // a vector is its own transpose: of the two ways to describe it take the plain one
    s.transpose_a = s.transpose_a && s.m > 1 && s.k > 1;
    s.transpose_b = s.transpose_b && s.n > 1 && s.k > 1;
    const bool bias = epilogue.bias != nullptr, pack = packed != nullptr;
    const onednn::Key key{static_cast<std::int64_t>(dtype_of<T>),
                          s.batch,
                          s.m,
                          s.n,
                          s.k,
                          s.transpose_a,
                          s.transpose_b,
                          s.share_a,
                          s.share_b,
                          bias,
                          epilogue.accumulate,
                          static_cast<std::int64_t>(epilogue.activation),
                          pack};
    auto& product =
        onednn::cached<Product>(key, [&] { return make<T>(s, bias, epilogue.accumulate, epilogue.activation, pack); });
    if (pack)
      product.call({y, a, packed->get(b, converted, product.b, product.packed_b), epilogue.bias});
    else
      product.call({y, a, b, epilogue.bias});
  });
}

}  // namespace

template <class T>
void matmul(T* y, const T* a, const T* b, const MatmulShape& s, const Epilogue<T>& epilogue, PackedWeights* packed) {
  const std::int64_t y_size = s.batch * s.m * s.n;
  if (y_size == 0) return;
  if (s.k == 0) {  // the empty sum is 0, as is a sum of one zero
    const std::int64_t longest = std::max(s.batch * s.m, s.batch * s.n);
    const onednn::Buffer zeros(static_cast<std::size_t>(longest) * sizeof(T));
    T* zero = static_cast<T*>(zeros.data());
    std::fill_n(zero, longest, T(0.0f));
    MatmulShape one = s;
    one.k = 1;
    return matmul(y, zero, zero, one, epilogue);
  }
  if constexpr (std::is_same_v<T, bf16>) {
    if (!onednn::computes_bf16()) {
      const onednn::Floats a_floats(a, (s.share_a ? 1 : s.batch) * s.m * s.k), bias(epilogue.bias, s.n);
      const onednn::Floats b_floats(packed == nullptr ? b : nullptr, (s.share_b ? 1 : s.batch) * s.k * s.n);
      const onednn::Floats sums = epilogue.accumulate ? onednn::Floats(y, y_size) : onednn::Floats(y_size);
      multiply<float>(sums.data(), a_floats.data(), packed == nullptr ? static_cast<const void*>(b_floats.data()) : b,
                      packed != nullptr, s, {bias.data(), epilogue.accumulate, epilogue.activation}, packed);
      return sums.store(y, y_size);
    }
  }
  multiply(y, a, b, false, s, epilogue, packed);
}

template void matmul(float*, const float*, const float*, const MatmulShape&, const Epilogue<float>&, PackedWeights*);
template void matmul(bf16*, const bf16*, const bf16*, const MatmulShape&, const Epilogue<bf16>&, PackedWeights*);

}  // namespace clip::kernels::cpu
