// Threads share the columns (o, i): in backward each sums into its own, so the order of additions does not depend on
// how many threads there are.
#include "kernels/gather.hpp"

#include "kernels/cpu/parallel.hpp"
#include "kernels/element_size.hpp"

namespace clip::kernels::cpu {
namespace {

/// Calls f(o, first, last) for the runs of neighbouring columns, those of one o, that a thread has.
template <class F>
void for_columns(const GatherShape& shape, const F& f) {
  parallel_rows(shape.outer * shape.inner, shape.n + shape.m, [=](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t o = begin / shape.inner, first = begin % shape.inner;
      const std::int64_t last = std::min(shape.inner, first + end - begin);
      f(o, first, last);
      begin += last - first;
    }
  });
}

template <class Element, class I>
void gather(Element* y, const Element* x, const I* index, const GatherShape& shape) {
  for_columns(shape, [=](std::int64_t o, std::int64_t first, std::int64_t last) {
    const Element* from = x + o * shape.n * shape.inner;
    for (std::int64_t k = o * shape.m; k < (o + 1) * shape.m; ++k)
      for (std::int64_t i = first; i < last; ++i)
        y[k * shape.inner + i] = from[index[k * shape.inner + i] * shape.inner + i];
  });
}

}  // namespace

template <class I>
void gather_forward(void* y, const void* x, const I* index, std::size_t element_size, const GatherShape& shape) {
  of_size(element_size, [&]<class Element>(Element) {
    gather(static_cast<Element*>(y), static_cast<const Element*>(x), index, shape);
  });
}

template <class T, class I>
void gather_backward(float* dx, const T* dy, const I* index, const GatherShape& shape) {
  for_columns(shape, [=](std::int64_t o, std::int64_t first, std::int64_t last) {
    float* to = dx + o * shape.n * shape.inner;
    for (std::int64_t j = 0; j < shape.n; ++j)
      std::fill(to + j * shape.inner + first, to + j * shape.inner + last, 0.0f);
    for (std::int64_t k = o * shape.m; k < (o + 1) * shape.m; ++k)
      for (std::int64_t i = first; i < last; ++i)
        to[index[k * shape.inner + i] * shape.inner + i] += dy[k * shape.inner + i];
  });
}

template void gather_forward(void*, const void*, const std::int32_t*, std::size_t, const GatherShape&);
template void gather_forward(void*, const void*, const std::int64_t*, std::size_t, const GatherShape&);
template void gather_backward(float*, const float*, const std::int32_t*, const GatherShape&);
template void gather_backward(float*, const float*, const std::int64_t*, const GatherShape&);
template void gather_backward(float*, const bf16*, const std::int32_t*, const GatherShape&);
template void gather_backward(float*, const bf16*, const std::int64_t*, const GatherShape&);

}  // namespace clip::kernels::cpu
