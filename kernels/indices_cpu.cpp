// Indices are checked in pieces without a branch inside, which the compiler vectorises; only a piece that has a bad one
// is searched.
#include "kernels/indices.hpp"

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

template <class I>
std::int64_t first_outside(const I* indices, std::int64_t count, std::int64_t limit) {
  std::int64_t found = count;
  vectorized(0, count, [&](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t piece = 1024;
    for (std::int64_t i = begin; i < end; i += piece) {
      const std::int64_t last = std::min(i + piece, end);
      bool bad = false;
      for (std::int64_t j = i; j < last; ++j) bad |= (indices[j] < 0) | (indices[j] >= limit);
      if (!bad) continue;
      found = i;
      while (indices[found] >= 0 && indices[found] < limit) ++found;
      return;
    }
  });
  return found;
}

template std::int64_t first_outside(const std::int32_t*, std::int64_t, std::int64_t);
template std::int64_t first_outside(const std::int64_t*, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
