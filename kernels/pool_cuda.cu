// A thread has 16 bytes of channels of an output, forward, or of a position, backward; single channels where addresses
// do not allow. Forward the windows' overlaps are read from the caches. Backward gathers: an element of dx looks
// through the windows that contain it, so sums have one order and nothing is added atomically.
#include "kernels/pool.hpp"

#include "kernels/device/cells.cuh"

namespace clip::kernels::cuda {
namespace {

/// Rows of cells are outputs.
template <class T, int N>
__global__ void __launch_bounds__(Cells::most)
    forward(T* y, std::int32_t* index, const T* x, PoolShape s, Cells cells) {
  if (!cells.inside()) return;
  const std::int64_t image = cells.row() / (s.out_height * s.out_width), c = cells.col() * N;
  const auto h = s.covered(cells.row() / s.out_width % s.out_height, s.height);
  const auto w = s.covered(cells.row() % s.out_width, s.width);
  const T* const in = x + image * s.height * s.width * s.channels + c;
  Floats<N> best;
  Packed<std::int32_t, N> at;
  for (std::int64_t i = h.begin; i < h.end; ++i)
    for (std::int64_t j = w.begin; j < w.end; ++j) {
      const std::int64_t position = i * s.width + j;
      const auto v = load<N>(in + position * s.channels);
      const bool first = i == h.begin && j == w.begin;
#pragma unroll
      for (int e = 0; e < N; ++e) {
        if (!first && !(v[e] > best[e] || (v[e] != v[e] && best[e] == best[e]))) continue;
        best[e] = v[e];
        at.e[e] = static_cast<std::int32_t>(position);
      }
    }
  store(y + cells.row() * s.channels + c, best);
  if (index != nullptr) store(index + cells.row() * s.channels + c, at);
}

/// Rows of cells are positions.
template <class T, int N>
__global__ void __launch_bounds__(Cells::most)
    backward(T* dx, const T* dy, const std::int32_t* index, PoolShape s, Cells cells) {
  if (!cells.inside()) return;
  const std::int64_t image = cells.row() / (s.height * s.width), position = cells.row() % (s.height * s.width);
  const auto h = s.covering(position / s.width, s.out_height), w = s.covering(position % s.width, s.out_width);
  const std::int64_t c = cells.col() * N;
  Floats<N> sum{};
  for (std::int64_t i = h.begin; i < h.end; ++i)
    for (std::int64_t j = w.begin; j < w.end; ++j) {
      const std::int64_t from = ((image * s.out_height + i) * s.out_width + j) * s.channels + c;
      const auto at = load_packed<N>(index + from);
      const auto v = load<N>(dy + from);
#pragma unroll
      for (int e = 0; e < N; ++e)
        if (at.e[e] == position) sum[e] += v[e];
    }
  store(dx + cells.row() * s.channels + c, sum);
}

}  // namespace

template <class T>
void max_pool2d_forward(T* y, std::int32_t* index, const T* x, const PoolShape& shape, Stream stream) {
  const auto run = [&]<int N>() {
    const Cells cells(shape.images * shape.out_height * shape.out_width, shape.channels / N);
    launch("max_pool2d", cells.grid(), stream, forward<T, N>, y, index, x, shape, cells);
  };
  if (in_vectors<T>(shape.channels, y, index, x))
    run.template operator()<vector_of<T>>();
  else
    run.template operator()<1>();
}

template <class T>
void max_pool2d_backward(T* dx, const T* dy, const std::int32_t* index, const PoolShape& shape, Stream stream) {
  const auto run = [&]<int N>() {
    const Cells cells(shape.images * shape.height * shape.width, shape.channels / N);
    launch("max_pool2d", cells.grid(), stream, backward<T, N>, dx, dy, index, shape, cells);
  };
  if (in_vectors<T>(shape.channels, dx, dy, index))
    run.template operator()<vector_of<T>>();
  else
    run.template operator()<1>();
}

template void max_pool2d_forward(float*, std::int32_t*, const float*, const PoolShape&, Stream);
template void max_pool2d_forward(bf16*, std::int32_t*, const bf16*, const PoolShape&, Stream);
template void max_pool2d_forward(f16*, std::int32_t*, const f16*, const PoolShape&, Stream);
template void max_pool2d_backward(float*, const float*, const std::int32_t*, const PoolShape&, Stream);
template void max_pool2d_backward(bf16*, const bf16*, const std::int32_t*, const PoolShape&, Stream);
template void max_pool2d_backward(f16*, const f16*, const std::int32_t*, const PoolShape&, Stream);

}  // namespace clip::kernels::cuda
