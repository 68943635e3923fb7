#include "kernels/concat.hpp"

#include <cstring>

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows) {
  if (bytes == 0) return;
  constexpr std::int64_t most = 1 << 16;  // long rows are shared among the threads, too
  const std::int64_t pieces = (bytes + most - 1) / most;
  parallel_rows(rows * pieces, std::min(bytes, most) / 4 + 1, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = i / pieces, first = i % pieces * most;
      std::memcpy(static_cast<char*>(y) + row * y_stride + first, static_cast<const char*>(x) + row * x_stride + first,
                  static_cast<std::size_t>(std::min(most, bytes - first)));
    }
  });
}

}  // namespace clip::kernels::cpu
