#include "kernels/cpu/simd.hpp"

#include <unistd.h>

#include <algorithm>

namespace clip::kernels::cpu {

bool should_stream_bytes(std::int64_t bytes) {
  static const std::int64_t last_level_cache = [] {
    const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    // the system may count every cache of the socket, of which a core reaches one
    return std::clamp<std::int64_t>(size, std::int64_t{32} << 20, std::int64_t{64} << 20);
  }();
  return bytes > last_level_cache / 2;
}

}  // namespace clip::kernels::cpu
