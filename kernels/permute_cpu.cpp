// A permutation is merged into as few dimensions as it allows. If the last dimension stays last, runs of it are copied;
// otherwise the two dimensions that are innermost in x and in y are walked in tiles, so that both sides use whole cache
// lines.
#include "kernels/permute.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.hpp"
#include "kernels/element_size.hpp"

namespace clip::kernels {

Permutation::Permutation(int dims, const std::array<std::int64_t, 8>& extent, const std::array<int, 8>& order) {
  std::int64_t stride = 1;
  std::array<std::int64_t, 8> x_stride{};
  for (auto d = static_cast<std::size_t>(dims); d-- > 0; stride *= extent[d]) x_stride[d] = stride;
  for (std::size_t d = 0; d < static_cast<std::size_t>(dims); ++d) {
    const auto from = static_cast<std::size_t>(order[d]);
    if (extent[from] == 1) continue;
    Axis* const last = rank == 0 ? nullptr : &axes[rank - 1];
    if (last != nullptr && last->x_stride == x_stride[from] * extent[from])
      *last = {last->extent * extent[from], x_stride[from]};
    else
      axes[rank++] = {extent[from], x_stride[from]};
  }
  rank = std::max(rank, 1);
  stride = 1;
  for (int d = rank; d-- > 0; stride *= axes[d].extent) axes[d].y_stride = stride;
}

}  // namespace clip::kernels

namespace clip::kernels::cpu {

namespace {

using Axis = Permutation::Axis;

/// out[i * x_inner.y_stride + j] = in[i + j * y_inner.x_stride], in tiles that are read and written along their lines;
/// between, they stay in a buffer whose odd width keeps its columns apart in the cache.
template <class T>
CLIP_INLINE void transpose_tiles(T* out, const T* in, Axis x_inner, Axis y_inner) {
  constexpr std::int64_t tile = 32;
  T buffer[tile][tile + 1];
  for (std::int64_t i0 = 0; i0 < x_inner.extent; i0 += tile)
    for (std::int64_t j0 = 0; j0 < y_inner.extent; j0 += tile) {
      const std::int64_t height = std::min(tile, x_inner.extent - i0), width = std::min(tile, y_inner.extent - j0);
      for (std::int64_t j = 0; j < width; ++j)
        for (std::int64_t i = 0; i < height; ++i) buffer[j][i] = in[i0 + i + (j0 + j) * y_inner.x_stride];
      for (std::int64_t i = 0; i < height; ++i)
        for (std::int64_t j = 0; j < width; ++j) out[(i0 + i) * x_inner.y_stride + j0 + j] = buffer[j][i];
    }
}

template <class T>
void permute_as(T* y, const T* x, std::vector<Axis> axes) {
  // the innermost axis of y, and the axis of y along which x is contiguous
  const Axis y_inner = axes.back();
  axes.pop_back();
  Axis x_inner{1, 1, 0};
  if (y_inner.x_stride != 1)
    for (auto axis = axes.begin(); axis != axes.end(); ++axis)
      if (axis->x_stride == 1) {
        x_inner = *axis;
        axes.erase(axis);
        break;
      }
  std::int64_t outer = 1;
  for (const Axis& axis : axes) outer *= axis.extent;
  const bool split_inner = outer < 2 && x_inner.extent > 1;  // one big matrix: share its rows among the threads
  const auto block = [&](std::int64_t index) {
    std::int64_t x_at = 0, y_at = 0;
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
      x_at += index % axis->extent * axis->x_stride;
      y_at += index % axis->extent * axis->y_stride;
      index /= axis->extent;
    }
    return std::pair{x + x_at, y + y_at};
  };
  if (split_inner)
    return parallel_for(
        x_inner.extent, elements_per_thread / std::max<std::int64_t>(y_inner.extent, 1),
        [=](std::int64_t begin, std::int64_t end) {
          transpose_tiles(y + begin * x_inner.y_stride, x + begin, Axis{end - begin, 1, x_inner.y_stride}, y_inner);
        },
        32);
  parallel_rows(outer, x_inner.extent * y_inner.extent, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) {
      const auto [in, out] = block(o);
      if (y_inner.x_stride == 1)
        std::memcpy(out, in, static_cast<std::size_t>(y_inner.extent) * sizeof(T));
      else
        transpose_tiles(out, in, x_inner, y_inner);
    }
  });
}

}  // namespace

void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order) {
  const Permutation p(rank, extent, order);
  std::vector<Axis> axes(p.axes, p.axes + p.rank);
  if (std::any_of(axes.begin(), axes.end(), [](const Axis& axis) { return axis.extent == 0; })) return;
  of_size(element_size, [&]<class T>(T) { permute_as(static_cast<T*>(y), static_cast<const T*>(x), std::move(axes)); });
}

}  // namespace clip::kernels::cpu
