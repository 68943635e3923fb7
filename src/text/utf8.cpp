#include "src/text/utf8.hpp"

#include <cstdint>
#include <cstring>

#include "clip/io/file.hpp"

namespace clip {

std::size_t find_invalid_utf8(std::string_view text) {
  constexpr std::uint64_t high_bits = 0x8080808080808080;
  std::size_t at = 0;
  while (at < text.size()) {
    for (std::uint64_t eight = 0; at + 8 <= text.size(); at += 8) {  // ASCII, most of the time
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & high_bits) != 0) break;
    }
    if (at == text.size()) break;
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace clip
