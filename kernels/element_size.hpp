#pragma once
// For kernels that move elements and do not look at them.
#include <cstddef>
#include <cstdint>

namespace clip::kernels {

/// f(an unsigned integer of so many bytes: 1, 2, 4 or 8).
template <class F>
void of_size(std::size_t element_size, F&& f) {
  switch (element_size) {
    case 1: return f(std::uint8_t{});
    case 2: return f(std::uint16_t{});
    case 4: return f(std::uint32_t{});
    default: return f(std::uint64_t{});
  }
}

}  // namespace clip::kernels
