#include "src/text/utf8.hpp"

#include <cstdint>
#include <cstring>

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
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
      ++at;
      continue;
    }
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() - at < length) return at;
    for (std::size_t i = 1; i < length; ++i)
      if ((byte(i) & 0xc0) != 0x80) return at;
    const unsigned char second = byte(1);  // overlong forms, surrogates, and what lies beyond U+10FFFF
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f))
      return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace clip
