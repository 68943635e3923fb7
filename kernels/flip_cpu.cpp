#include "kernels/flip.hpp"

#include <cstring>

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

void flip(void* y, const void* x, std::int64_t outer, std::int64_t extent, std::int64_t bytes) {
  if (bytes == 0) return;
  parallel_rows(outer * extent, bytes / 4 + 1, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t from = row + extent - 1 - 2 * (row % extent);
      std::memcpy(static_cast<char*>(y) + row * bytes, static_cast<const char*>(x) + from * bytes,
                  static_cast<std::size_t>(bytes));
    }
  });
}

}  // namespace clip::kernels::cpu
