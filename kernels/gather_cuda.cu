// Forward a thread has an element of y. Backward a thread has a column (o, i) of dx, to which it adds in the order of
// k: no two threads add to one place, so there are no atomics. Threads next to each other have columns next to each
// other. One long column is slow; rows chosen from a table by ids are `embedding`'s.
#include "kernels/gather.hpp"

#include "kernels/device/cells.cuh"
#include "kernels/element_size.hpp"

namespace clip::kernels::cuda {
namespace {

template <class Element, class I>
__global__ void __launch_bounds__(Cells::most)
    forward(Element* y, const Element* x, const I* index, GatherShape s, Cells cells) {
  if (!cells.inside()) return;
  const std::int64_t at = cells.row() * s.inner + cells.col();
  y[at] = x[(cells.row() / s.m * s.n + index[at]) * s.inner + cells.col()];
}

__global__ void __launch_bounds__(Cells::most) clear(float* dx, Cells cells) {
  if (cells.inside()) dx[cells.row() * cells.cols + cells.col()] = 0;
}

template <class T, class I>
__global__ void __launch_bounds__(Cells::most)
    backward(float* dx, const T* dy, const I* index, GatherShape s, Cells cells) {
  if (!cells.inside()) return;
  float* const to = dx + cells.row() * s.n * s.inner + cells.col();
  for (std::int64_t k = cells.row() * s.m; k < (cells.row() + 1) * s.m; ++k) {
    const std::int64_t at = k * s.inner + cells.col();
    to[index[at] * s.inner] += widen(dy[at]);
  }
}

}  // namespace

template <class I>
void gather_forward(void* y, const void* x, const I* index, std::size_t element_size, const GatherShape& shape,
                    Stream stream) {
  const Cells cells(shape.outer * shape.m, shape.inner);
  of_size(element_size, [&]<class Element>(Element) {
    launch("gather", cells.grid(), stream, forward<Element, I>, static_cast<Element*>(y),
           static_cast<const Element*>(x), index, shape, cells);
  });
}

template <class T, class I>
void gather_backward(float* dx, const T* dy, const I* index, const GatherShape& shape, Stream stream) {
  const Cells all(shape.outer, shape.n * shape.inner), columns(shape.outer, shape.inner);
  launch("gather", all.grid(), stream, clear, dx, all);
  launch("gather", columns.grid(), stream, backward<T, I>, dx, dy, index, shape, columns);
}

template void gather_forward(void*, const void*, const std::int32_t*, std::size_t, const GatherShape&, Stream);
template void gather_forward(void*, const void*, const std::int64_t*, std::size_t, const GatherShape&, Stream);
template void gather_backward(float*, const float*, const std::int32_t*, const GatherShape&, Stream);
template void gather_backward(float*, const float*, const std::int64_t*, const GatherShape&, Stream);
template void gather_backward(float*, const bf16*, const std::int32_t*, const GatherShape&, Stream);
template void gather_backward(float*, const bf16*, const std::int64_t*, const GatherShape&, Stream);
template void gather_backward(float*, const f16*, const std::int32_t*, const GatherShape&, Stream);
template void gather_backward(float*, const f16*, const std::int64_t*, const GatherShape&, Stream);

}  // namespace clip::kernels::cuda
