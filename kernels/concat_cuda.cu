// A thread copies as many bytes as all addresses, strides and the length are multiples of, 16 at most; neighbouring
// threads neighbouring ones. Each byte is read once and written once.
#include "kernels/concat.hpp"

#include "kernels/device/cells.cuh"

namespace clip::kernels::cuda {
namespace {

/// Strides are counted in units.
template <class Unit>
__global__ void __launch_bounds__(Cells::most)
    copy(Unit* y, std::int64_t y_stride, const Unit* x, std::int64_t x_stride, Cells cells) {
  if (cells.inside())
    aligned_as<Unit>(y + cells.row() * y_stride + cells.col()) =
        aligned_as<Unit>(x + cells.row() * x_stride + cells.col());
}

}  // namespace

void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows, Stream stream) {
  dispatch_unit(
      [&]<class Unit>() {
        constexpr auto size = static_cast<std::int64_t>(sizeof(Unit));
        const Cells cells(rows, bytes / size);
        launch("copy_rows", cells.grid(), stream, copy<Unit>, static_cast<Unit*>(y), y_stride / size,
               static_cast<const Unit*>(x), x_stride / size, cells);
      },
      y, y_stride, x, x_stride, bytes);
}

}  // namespace clip::kernels::cuda
