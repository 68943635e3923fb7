#pragma once
// What tests/reference/image_reference.py left in tests/data/image.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/data.hpp"

namespace clip::test {

inline const std::filesystem::path image_data = test_data("image");

/// FNV-1a, 64 bits, in hexadecimal.
template <class T>
std::string hash_of(std::span<const T> values) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const std::byte b : std::as_bytes(values)) h = (h ^ static_cast<std::uint64_t>(b)) * 0x100000001b3;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(h));
  return text;
}
template <class T>
std::string hash_of(const std::vector<T>& values) {
  return hash_of(std::span<const T>(values));
}

/// The lines of a golden file, each to be read with `>>`.
inline std::vector<std::istringstream> golden_lines(const std::string& name) {
  std::ifstream file(image_data / name);
  std::vector<std::istringstream> lines;
  for (std::string line; std::getline(file, line);)
    if (!line.starts_with('#')) lines.emplace_back(line);
  return lines;
}

}  // namespace clip::test
