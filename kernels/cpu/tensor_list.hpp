#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

/// Calls work(i, begin, end) for elements of tensor i, which has tensors[i].count of them. The elements of all tensors
/// count as one range, so that threads share it evenly; no thread gets fewer than `grain`.
template <class T, class Work>
void parallel_tensors(std::span<const T> tensors, std::int64_t grain, const Work& work) {
  std::int64_t total = 0;
  for (const T& t : tensors) total += t.count;
  parallel_for(
      total, grain,
      [=](std::int64_t begin, std::int64_t end) {
        std::int64_t first = 0;  // of this tensor, in the range of all
        for (std::size_t i = 0; i < tensors.size(); ++i) {
          const std::int64_t from = std::max(begin, first), to = std::min(end, first + tensors[i].count);
          if (from < to) work(i, from - first, to - first);
          first += tensors[i].count;
        }
      },
      64);
}

}  // namespace clip::kernels::cpu
