#pragma once
// Zip archives as PyTorch writes them: their files are stored, not compressed.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clip/io/file.hpp"

namespace clip {

struct ZipEntry {
  std::string name;
  bool compressed = false;
  std::span<const std::byte> data;  ///< in the mapping; its checksum was right (but that of compressed data is unknown)
};

/// The files of an archive, by name. All checks are made at once, checksums too: nothing twice, no absolute path or
/// `..`, no overlap, and each local header agrees with the central one. Compressed are only what PyTorch compresses and
/// nobody here reads: source code in a folder `code`. Throws, naming archive and entry.
std::vector<ZipEntry> read_zip(const MappedFile& file);

/// Whether the file starts as a zip archive does.
bool is_zip(const MappedFile& file);

/// The checksum of zip archives: CRC-32 with polynomial 0xedb88320.
std::uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace clip
