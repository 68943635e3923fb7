// A thread copies as many bytes as the addresses and the length of a row are multiples of, 16 at most; neighbouring
// threads neighbouring ones. Each byte is read once and written once.
#include "kernels/flip.hpp"

#include "kernels/device/cells.cuh"

namespace clip::kernels::cuda {
namespace {

template <class Unit>
__global__ void __launch_bounds__(Cells::most) reverse(Unit* y, const Unit* x, std::int64_t extent, Cells cells) {
  if (!cells.inside()) return;
  const std::int64_t row = cells.row(), from = row + extent - 1 - 2 * (row % extent);
  aligned_as<Unit>(y + row * cells.cols + cells.col()) = aligned_as<Unit>(x + from * cells.cols + cells.col());
}

}  // namespace

void flip(void* y, const void* x, std::int64_t outer, std::int64_t extent, std::int64_t bytes, Stream stream) {
  dispatch_unit(
      [&]<class Unit>() {
        const Cells cells(outer * extent, bytes / static_cast<std::int64_t>(sizeof(Unit)));
        launch("flip", cells.grid(), stream, reverse<Unit>, static_cast<Unit*>(y), static_cast<const Unit*>(x), extent,
               cells);
      },
      y, x, bytes);
}

}  // namespace clip::kernels::cuda
