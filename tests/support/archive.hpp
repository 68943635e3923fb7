#pragma once
// Zip archives and pickles written by hand, right or wrong on purpose.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/io/zip.hpp"

namespace clip::test {

/// The lowest `bytes` bytes of a number, little-endian.
inline std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// A file to be put in an archive, and what to lie about.
struct ZipFile {
  std::string name, data;
  std::string local_name = name;
  std::uint16_t method = 0, local_method = method, flags = 0, local_flags = flags;
  std::uint32_t crc = crc32(std::as_bytes(std::span(data))), local_crc = crc;
  std::uint32_t size = static_cast<std::uint32_t>(data.size()), local_size = size;
  std::uint32_t move_back = 0;  // how many bytes before its place the directory says it is
  std::string after = {};       // what follows the data: a descriptor
};

inline std::string zip_archive(const std::vector<ZipFile>& files) {
  std::string bytes, directory;
  for (const ZipFile& f : files) {
    const auto header = [](std::uint16_t flags, std::uint16_t method, std::uint32_t crc, std::uint32_t size,
                           const std::string& name) {
      return little(20, 2) + little(flags, 2) + little(method, 2) + little(0, 4) + little(crc, 4) + little(size, 4) +
             little(size, 4) + little(name.size(), 2) + little(0, 2);
    };
    directory += "PK\x01\x02" + little(20, 2) + header(f.flags, f.method, f.crc, f.size, f.name) +
                 std::string(10, '\0') + little(bytes.size() - f.move_back, 4) + f.name;
    bytes += "PK\x03\x04" + header(f.local_flags, f.local_method, f.local_crc, f.local_size, f.local_name) +
             f.local_name + f.data + f.after;
  }
  const std::size_t start = bytes.size();
  return bytes + directory + "PK\x05\x06" + little(0, 4) + little(files.size(), 2) + little(files.size(), 2) +
         little(directory.size(), 4) + little(start, 4) + little(0, 2);
}

// Opcodes of pickles.
inline std::string pickled_text(std::string_view text) { return 'X' + little(text.size(), 4) + std::string(text); }
inline std::string pickled_int(std::int64_t value) { return "\x8a\x08" + little(static_cast<std::uint64_t>(value), 8); }
inline std::string pickled_ints(const std::vector<std::int64_t>& values) {
  std::string text = "(";
  for (const std::int64_t value : values) text += pickled_int(value);
  return text + 't';
}
inline std::string pickled_storage(std::int64_t elements, std::string_view type = "FloatStorage",
                                   std::string_view key = "0") {
  return '(' + pickled_text("storage") + "ctorch\n" + std::string(type) + '\n' + pickled_text(key) +
         pickled_text("cpu") + pickled_int(elements) + "tQ";
}
inline std::string pickled_tensor(const std::string& storage, std::int64_t offset,
                                  const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + pickled_int(offset) + pickled_ints(shape) +
         pickled_ints(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}
/// {"a": value}
inline std::string pickled_dict(const std::string& value) { return "\x80\x02}" + pickled_text("a") + value + "s."; }

/// An archive as torch.save writes it, of this pickle and a storage `0`.
inline std::string torch_archive(const std::string& pickle, const std::string& storage = std::string(16, '\1'),
                                 const std::string& byteorder = "little") {
  return zip_archive({{.name = "x/data.pkl", .data = pickle},
                      {.name = "x/byteorder", .data = byteorder},
                      {.name = "x/data/0", .data = storage},
                      {.name = "x/version", .data = "3\n"}});
}

/// The same as PyTorch wrote it before 1.6.
inline std::string old_archive(const std::string& pickle, const std::string& storage = std::string(16, '\1')) {
  return std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") + "\x80\x02M\xe9\x03." + "\x80\x02}" +
         pickled_text("little_endian") + "\x88s." + pickle + "\x80\x02]" + pickled_text("0") + "a." +
         little(storage.size() / 4, 8) + storage;
}

}  // namespace clip::test
