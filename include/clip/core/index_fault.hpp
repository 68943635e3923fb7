#pragma once
#include <array>
#include <cstdint>

#include "clip/core/shape.hpp"

namespace clip {

/// What indices on a GPU must be, as an error tells it: "[op] expected EXPECTED, got …".
struct IndexCheck {
  const char* op;
  std::array<char, 80> expected;
  Shape shape;  ///< of the indices

  /// Throws the error for element `position` of the indices.
  [[noreturn]] void raise(std::int64_t position, std::int64_t value) const;
};

/// An index that is something else. While a context has none, `check.op` is null.
struct IndexFault {
  IndexCheck check{};
  std::int64_t position = 0, value = 0;
};

/// Memory of the host where the kernels of one GPU note what they find. Each thread has a place, which keeps the first.
struct IndexFaults {
  static constexpr int threads = 4096;
  int any = 0;
  std::array<IndexFault, threads> of_thread{};
};

}  // namespace clip
