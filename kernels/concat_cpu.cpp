#include "kernels/concat.hpp"

#include <cstring>

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows) {
  if (bytes == 0) return;
  parallel_rows(rows, bytes / 4 + 1, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      std::memcpy(static_cast<char*>(y) + r * y_stride, static_cast<const char*>(x) + r * x_stride,
                  static_cast<std::size_t>(bytes));
  });
}

}  // namespace clip::kernels::cpu
