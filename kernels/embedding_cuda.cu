// A warp copies a row, 16 bytes to a lane where addresses allow, else 4 or 1.
#include "kernels/embedding.hpp"

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr unsigned rows_in_block = 8;

/// `Unit` is what a lane copies at a time, a row being `units` of them.
template <class Unit, class I>
__global__ void copy_rows(Unit* y, const Unit* table, const I* ids, std::int64_t rows, std::int64_t units) {
  const std::int64_t row = std::int64_t{blockIdx.x} * rows_in_block + threadIdx.y;
  if (row >= rows) return;
  const Unit* const from = table + ids[row] * units;
  for (std::int64_t i = threadIdx.x; i < units; i += 32) y[row * units + i] = from[i];
}

}  // namespace

template <class I>
void embedding_forward(void* y, const void* table, const I* ids, std::int64_t rows, std::int64_t row_bytes,
                       Stream stream) {
  const auto copy = [&]<class Unit>() {
    launch("embedding", {(rows + rows_in_block - 1) / rows_in_block, {32, rows_in_block}}, stream, copy_rows<Unit, I>,
           static_cast<Unit*>(y), static_cast<const Unit*>(table), ids, rows,
           row_bytes / static_cast<std::int64_t>(sizeof(Unit)));
  };
  const auto places = reinterpret_cast<std::uintptr_t>(y) | reinterpret_cast<std::uintptr_t>(table) |
                      static_cast<std::uintptr_t>(row_bytes);
  if (places % 16 == 0)
    copy.template operator()<Packed<std::uint32_t, 4>>();
  else if (places % 4 == 0)
    copy.template operator()<std::uint32_t>();
  else
    copy.template operator()<std::uint8_t>();
}

template void embedding_forward(void*, const void*, const std::int32_t*, std::int64_t, std::int64_t, Stream);
template void embedding_forward(void*, const void*, const std::int64_t*, std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
