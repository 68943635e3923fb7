#pragma once
#include <cstddef>
#include <string_view>

namespace clip {

/// The code point that starts at `at`, which moves behind it. The text must be valid.
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const auto tail = [&](std::size_t i) { return char32_t{byte(i)} & 0x3f; };
  const unsigned char first = byte(0);
  char32_t code = first;
  std::size_t length = 1;
  if (first >= 0xf0) {
    code = (first & 0x07u) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    length = 4;
  } else if (first >= 0xe0) {
    code = (first & 0x0fu) << 12 | tail(1) << 6 | tail(2);
    length = 3;
  } else if (first >= 0x80) {
    code = (first & 0x1fu) << 6 | tail(1);
    length = 2;
  }
  at += length;
  return code;
}

/// Writes `code` as UTF-8, at most four bytes; returns how many.
inline std::size_t put_code_point(char32_t code, char* out) {
  const auto put = [&](std::size_t i, char32_t bits) { out[i] = static_cast<char>(bits); };
  const auto tail = [&](int shift) { return 0x80 | (code >> shift & 0x3f); };
  if (code < 0x80) {
    put(0, code);
    return 1;
  }
  if (code < 0x800) {
    put(0, 0xc0 | code >> 6);
    put(1, tail(0));
    return 2;
  }
  if (code < 0x10000) {
    put(0, 0xe0 | code >> 12);
    put(1, tail(6));
    put(2, tail(0));
    return 3;
  }
  put(0, 0xf0 | code >> 18);
  put(1, tail(12));
  put(2, tail(6));
  put(3, tail(0));
  return 4;
}

}  // namespace clip
