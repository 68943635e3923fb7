// Where the last dimension stays last, runs of it are copied, 16 bytes to a thread if they allow. Otherwise the two
// dimensions that are innermost in x (`across`) and in y (`along`) are walked in tiles of about 1024 elements, which
// are read along x's lines into shared memory and written along y's. A tile is 32 x 32 elements, but longer where one
// of the dimensions is shorter (the 3 channels of a picture). Rows of a tile have an odd stride, so that reading its
// columns uses all banks. Each element is read once and written once.
#include "kernels/permute.hpp"

#include "kernels/device/cells.cuh"
#include "kernels/device/shared.cuh"
#include "kernels/element_size.hpp"

namespace clip::kernels::cuda {
namespace {

using Axis = Permutation::Axis;

/// The axes but those that a kernel walks itself.
struct Outer {
  int rank = 0;
  Axis axes[8];

  std::int64_t count() const {
    std::int64_t product = 1;
    for (int d = 0; d < rank; ++d) product *= axes[d].extent;
    return product;
  }
};

struct Start {
  std::int64_t x = 0, y = 0;
};

/// Where the part of the arrays that has this number begins.
__device__ Start start_of(const Outer& outer, unsigned number) {
  Start start;
  for (int d = outer.rank; d-- > 0;) {
    const auto extent = static_cast<unsigned>(outer.axes[d].extent);
    const std::int64_t at = number % extent;
    start.x += at * outer.axes[d].x_stride;
    start.y += at * outer.axes[d].y_stride;
    number /= extent;
  }
  return start;
}

/// Strides are counted in units, of which a run has `cells.cols`.
template <class Unit>
__global__ void __launch_bounds__(Cells::most) copy_runs(Unit* y, const Unit* x, Outer outer, Cells cells) {
  if (!cells.inside()) return;
  const Start start = start_of(outer, static_cast<unsigned>(cells.row()));
  aligned_as<Unit>(y + start.y + cells.col()) = aligned_as<Unit>(x + start.x + cells.col());
}

constexpr unsigned threads = 256;

struct Tile {
  std::int64_t across, along, pitch;
  unsigned tiles_across, tiles_along;
};

/// `across` has x_stride 1, `along` has y_stride 1.
Tile tile_of(const Axis& across, const Axis& along) {
  constexpr std::int64_t side = 32, all = side * side;
  const auto longer = [](std::int64_t other) { return all / other / side * side; };
  Tile tile{};
  tile.across = std::min(across.extent, side);
  tile.along = std::min(along.extent, longer(tile.across));
  tile.across = std::min(across.extent, longer(std::min(tile.along, side)));
  tile.pitch = tile.across | 1;
  tile.tiles_across = static_cast<unsigned>((across.extent + tile.across - 1) / tile.across);
  tile.tiles_along = static_cast<unsigned>((along.extent + tile.along - 1) / tile.along);
  return tile;
}

template <class T>
__global__ void __launch_bounds__(threads)
    transpose(T* y, const T* x, Axis across, Axis along, Outer outer, Tile tile) {
  T* const memory = &shared_as<T>();
  unsigned number = blockIdx.x;
  const std::int64_t first_along = number % tile.tiles_along * tile.along;
  number /= tile.tiles_along;
  const std::int64_t first_across = number % tile.tiles_across * tile.across;
  const Start start = start_of(outer, number / tile.tiles_across);
  const T* const in = x + start.x + first_across + first_along * along.x_stride;
  T* const out = y + start.y + first_across * across.y_stride + first_along;
  const auto height = static_cast<unsigned>(std::min(tile.across, across.extent - first_across));
  const auto width = static_cast<unsigned>(std::min(tile.along, along.extent - first_along));
  for (unsigned e = threadIdx.x; e < height * width; e += threads) {
    const unsigned i = e % height, j = e / height;
    memory[j * tile.pitch + i] = in[i + j * along.x_stride];
  }
  __syncthreads();
  for (unsigned e = threadIdx.x; e < height * width; e += threads) {
    const unsigned i = e / width, j = e % width;
    out[i * across.y_stride + j] = memory[j * tile.pitch + i];
  }
}

template <class T>
void permute_as(T* y, const T* x, const Permutation& p, Stream stream) {
  const Axis along = p.axes[p.rank - 1];
  Axis across{1, 1, 0};
  Outer outer;
  for (int d = 0; d + 1 < p.rank; ++d) {
    if (along.x_stride != 1 && p.axes[d].x_stride == 1)
      across = p.axes[d];
    else
      outer.axes[outer.rank++] = p.axes[d];
  }
  const std::int64_t parts = outer.count();
  check(parts <= 0xffffffff, "permute", "expected at most 2^32 - 1 parts, got ", parts, ": use smaller tensors");
  if (along.x_stride != 1) {
    const Tile tile = tile_of(across, along);
    launch("permute",
           {parts * tile.tiles_across * tile.tiles_along,
            {threads},
            static_cast<std::size_t>(tile.along * tile.pitch) * sizeof(T)},
           stream, transpose<T>, y, x, across, along, outer, tile);
    return;
  }
  const auto copy = [&]<class Unit>() {
    constexpr auto in_unit = static_cast<std::int64_t>(sizeof(Unit) / sizeof(T));
    Outer in_units = outer;
    for (Axis& axis : in_units.axes) axis = {axis.extent, axis.x_stride / in_unit, axis.y_stride / in_unit};
    const Cells cells(parts, along.extent / in_unit);
    launch("permute", cells.grid(), stream, copy_runs<Unit>, reinterpret_cast<Unit*>(y),
           reinterpret_cast<const Unit*>(x), in_units, cells);
  };
  if (in_vectors<T>(along.extent, y, x))
    copy.template operator()<Bytes16>();
  else
    copy.template operator()<T>();
}

}  // namespace

void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order, Stream stream) {
  const Permutation p(rank, extent, order);
  for (int d = 0; d < p.rank; ++d)
    if (p.axes[d].extent == 0) return;
  of_size(element_size, [&]<class T>(T) { permute_as(static_cast<T*>(y), static_cast<const T*>(x), p, stream); });
}

}  // namespace clip::kernels::cuda
