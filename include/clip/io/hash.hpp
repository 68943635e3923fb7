#pragma once
// A fast hash of content: XXH64, as its specification says
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). It finds changes and damage, not forgeries: it is
// not cryptographic.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace clip {

std::uint64_t content_hash(std::span<const std::byte> bytes, std::uint64_t seed = 0);
inline std::uint64_t content_hash(std::string_view text, std::uint64_t seed = 0) {
  return content_hash(std::as_bytes(std::span(text)), seed);
}
/// Sixteen hexadecimal digits.
std::string hex(std::uint64_t hash);

/// The hash of each file's content, read by several threads. Throws for the first file that cannot be read, or, with
/// `skip_bad`, gives the hash of its name: what reads the content will say more.
std::vector<std::uint64_t> hash_files(std::span<const std::filesystem::path> files, bool skip_bad = false);
/// The hash of all files of a folder and of folders in it, of their names and their content: another model, another
/// hash. Files whose name starts with a dot do not count. Throws when one cannot be read.
std::uint64_t hash_folder(const std::filesystem::path& folder);

}  // namespace clip
