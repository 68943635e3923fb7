#pragma once
// A thread for each cell of a matrix, for kernels that move or combine cells: neighbouring threads have neighbouring
// columns, and a block as many rows as fit, so that narrow matrices fill it too.
#include <type_traits>

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {

/// What cells are moved as: the bytes that a thread copies at once.
using Bytes16 = Packed<std::uint32_t, 4>;

class Cells {
 public:
  static constexpr std::int64_t most = 256;  // threads in a block

  /// `each` is how many rows a thread has: see `each_row`.
  Cells(std::int64_t all_rows, std::int64_t all_cols, int each = 1)
      : rows(all_rows),
        cols(all_cols),
        each_(each),
        pieces_(static_cast<unsigned>((cols + most - 1) / most)),
        width_(pieces_ == 0 ? 1 : static_cast<unsigned>((cols + pieces_ - 1) / pieces_)),
        height_(static_cast<unsigned>(most) / width_) {}

  Grid grid() const {
    const std::int64_t in_block = std::int64_t{height_} * each_;
    return {(rows + in_block - 1) / in_block * pieces_, {width_, height_}};
  }

  __device__ std::int64_t row() const { return std::int64_t{blockIdx.x / pieces_} * blockDim.y * each_ + threadIdx.y; }
  __device__ std::int64_t col() const { return std::int64_t{blockIdx.x % pieces_} * blockDim.x + threadIdx.x; }
  __device__ bool inside() const { return row() < rows && col() < cols; }
  /// f(row) for each of the thread's `Each` rows.
  template <int Each, class F>
  __device__ __forceinline__ void each_row(const F& f) const {
    const std::int64_t first = row();
#pragma unroll
    for (int i = 0; i < Each; ++i)
      if (const std::int64_t r = first + std::int64_t{blockDim.y} * i; r < rows) f(r);
  }

  std::int64_t rows, cols;

 private:
  int each_;
  unsigned pieces_, width_, height_;
};

/// f.operator()<Unit>() with the largest of 16, 8, 4, 2 and 1 bytes that divides all of these addresses and sizes.
template <class F, class... Places>
void dispatch_unit(const F& f, const Places&... places) {
  const auto bits = [](auto place) {
    if constexpr (std::is_pointer_v<decltype(place)>)
      return reinterpret_cast<std::uintptr_t>(place);
    else
      return static_cast<std::uintptr_t>(place);
  };
  const std::uintptr_t all = (bits(places) | ...);
  if (all % 16 == 0) return f.template operator()<Bytes16>();
  if (all % 8 == 0) return f.template operator()<std::uint64_t>();
  if (all % 4 == 0) return f.template operator()<std::uint32_t>();
  if (all % 2 == 0) return f.template operator()<std::uint16_t>();
  f.template operator()<std::uint8_t>();
}

}  // namespace clip::kernels::cuda
