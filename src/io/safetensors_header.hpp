#pragma once
// The JSON header of a safetensors file.
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "clip/io/safetensors.hpp"

namespace clip {

constexpr std::size_t longest_tensor_name = 4096;

struct SafeTensorsHeader {
  struct Entry {
    TensorInfo info;
    std::uint64_t begin = 0, end = 0;  // of its bytes, after the header
  };
  std::vector<Entry> tensors;  // in the order of their bytes, without gap or overlap
  std::map<std::string, std::string> metadata;
};

/// Parses the header of a file that has `data_bytes` bytes after it. Throws, naming `file` and tensor, on whatever the
/// format does not allow, but does not look for names that occur twice.
SafeTensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::filesystem::path& file);

}  // namespace clip
