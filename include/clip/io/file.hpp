#pragma once
// Reading what may come from strangers, and writing so that nothing is lost.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace clip {

/// The bytes of a regular file, mapped read-only: pages are read when touched. A value that shares the mapping with its
/// copies. Throws on what is no regular file (a folder, a FIFO, a device) or cannot be opened. Must not be shortened by
/// somebody else while it is read. A file that does not tell its size, as in /proc, is copied.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<void> mapping_;
  std::span<const std::byte> bytes_;
};

/// The content of a regular file. Throws on anything else, and when it is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 32);

/// A file in the making. Bytes go to a temporary one in the same folder, `commit` puts that in place at once and
/// durably: written, synced, renamed, the folder synced. Without `commit` the path stays as it was, and nothing is left
/// behind. Throws when the folder cannot be written or the disk is full.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void commit();

 private:
  void flush();

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::string buffer_;
};

/// Replaces the file by `content`, or leaves it as it was.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Bytes of the UTF-8 sequence that `text`, which is not empty, starts with; 0 when that is none.
std::size_t utf8_length(std::string_view text);
/// The position of the first byte that is not part of valid UTF-8; `npos` when all of it is valid.
std::size_t find_invalid_utf8(std::string_view text);
inline bool is_utf8(std::string_view text) { return find_invalid_utf8(text) == std::string_view::npos; }
/// `text` from a file as it may be shown: control characters and bytes that are no UTF-8 escaped, cut after 200 bytes.
std::string printable(std::string_view text);
/// A path as messages show it: printable, between quotes.
std::string quoted(const std::filesystem::path& path);

}  // namespace clip
