// The format: APPNOTE.TXT of PKWARE, version 6.3; offsets in the comments are its.
#include "src/io/zip.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "clip/core/error.hpp"
#include "src/io/bytes.hpp"

namespace clip {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                        zip64_end_signature = 0x06064b50, zip64_locator_signature = 0x07064b50,
                        descriptor_signature = 0x08074b50;
constexpr std::uint32_t in_zip64 = 0xffffffff;  // the number stands in the zip64 record
constexpr std::uint16_t has_descriptor = 1 << 3, is_utf8 = 1 << 11;
constexpr std::size_t end_bytes = 22, zip64_end_bytes = 56, zip64_locator_bytes = 20, local_bytes = 30;

/// What the central directory says of a file.
struct Central {
  std::string_view name;
  std::uint16_t flags = 0, method = 0;
  std::uint32_t crc = 0;
  std::uint64_t stored = 0, size = 0, local = 0;  // bytes in the archive and unpacked; where its local header starts
};

class Zip {
 public:
  explicit Zip(const MappedFile& file) : bytes_(file.bytes()), shown_(quoted(file.path())) {}

  std::vector<ZipEntry> read() {
    std::vector<Central> files = central_directory();
    std::vector<std::string_view> names;
    names.reserve(files.size());
    for (const Central& file : files) names.push_back(file.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) wrong(*twice, "is there twice");

    std::sort(files.begin(), files.end(), [](const Central& a, const Central& b) { return a.local < b.local; });
    std::vector<ZipEntry> entries;
    for (std::size_t i = 0; i < files.size(); ++i)
      entries.push_back(local_file(files[i], i + 1 < files.size() ? files[i + 1].local : directory_));
    return entries;
  }

 private:
  [[noreturn]] void wrong(std::string_view name, std::string_view what) const {
    fail("zip", '\'', printable(name), "' in ", shown_, ' ', what);
  }
  ByteReader at(std::uint64_t offset, std::uint64_t end) const {
    check(offset <= end && end <= bytes_.size(), "zip", shown_, " refers to bytes that it does not have");
    return {bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(end - offset)), shown_};
  }

  /// The end record, which names the directory; before it, perhaps the zip64 one.
  std::vector<Central> central_directory() {
    const std::size_t end = find_end();
    ByteReader record = at(end + 4, bytes_.size());
    const auto disk = record.number<std::uint16_t>(), directory_disk = record.number<std::uint16_t>();
    const auto here = record.number<std::uint16_t>(), total = record.number<std::uint16_t>();
    std::uint64_t count = total, size = record.number<std::uint32_t>();
    directory_ = record.number<std::uint32_t>();
    check(disk == 0 && directory_disk == 0 && here == total, "zip", shown_, " is one part of a split archive");

    std::uint64_t directory_end = end;
    const bool zip64 = end >= zip64_locator_bytes + zip64_end_bytes &&
                       at(end - zip64_locator_bytes, end).number<std::uint32_t>() == zip64_locator_signature;
    if (zip64) {
      ByteReader locator = at(end - zip64_locator_bytes + 4, end);
      const auto locator_disk = locator.number<std::uint32_t>();
      directory_end = locator.number<std::uint64_t>();
      check(locator_disk == 0 && locator.number<std::uint32_t>() == 1 &&
                directory_end == end - zip64_locator_bytes - zip64_end_bytes,
            "zip", shown_, " has a wrong zip64 locator");
      ByteReader large = at(directory_end, end);
      const bool good =
          large.number<std::uint32_t>() == zip64_end_signature && large.number<std::uint64_t>() == zip64_end_bytes - 12;
      large.take(4);                                          // versions
      const bool whole = large.number<std::uint64_t>() == 0;  // numbers of disks
      const auto large_here = large.number<std::uint64_t>(), large_total = large.number<std::uint64_t>(),
                 large_size = large.number<std::uint64_t>(), large_directory = large.number<std::uint64_t>();
      const auto agrees = [](std::uint64_t narrow, std::uint64_t wide, std::uint64_t absent) {
        return narrow == wide || narrow == absent;
      };
      check(good && whole && large_here == large_total && agrees(count, large_total, 0xffff) &&
                agrees(size, large_size, in_zip64) && agrees(directory_, large_directory, in_zip64),
            "zip", shown_, " has a zip64 end record that contradicts the other");
      count = large_total;
      size = large_size;
      directory_ = large_directory;
    }
    check(directory_ <= directory_end && size == directory_end - directory_, "zip", shown_,
          " has a directory that does not end where it should");

    ByteReader directory = at(directory_, directory_end);
    std::vector<Central> files;
    while (directory.left() > 0) files.push_back(central_file(directory));
    check(files.size() == count, "zip", shown_, " should list ", count, " files, but lists ", files.size());
    return files;
  }

  /// Where the end record starts: the last signature whose comment ends with the file.
  std::size_t find_end() const {
    for (std::size_t comment = 0; comment <= 0xffff && end_bytes + comment <= bytes_.size(); ++comment) {
      const std::size_t start = bytes_.size() - end_bytes - comment;
      if (at(start, bytes_.size()).number<std::uint32_t>() == end_signature &&
          at(start + 20, bytes_.size()).number<std::uint16_t>() == comment)
        return start;
    }
    fail("zip", shown_, " has no end record: it is cut off, fetch it again");
  }

  Central central_file(ByteReader& directory) const {
    Central file;
    check(directory.number<std::uint32_t>() == central_signature, "zip", shown_, " has a damaged directory");
    directory.take(4);  // versions
    file.flags = directory.number<std::uint16_t>();
    file.method = directory.number<std::uint16_t>();
    directory.take(4);  // time and date
    file.crc = directory.number<std::uint32_t>();
    file.stored = directory.number<std::uint32_t>();
    file.size = directory.number<std::uint32_t>();
    const auto name = directory.number<std::uint16_t>(), extra = directory.number<std::uint16_t>(),
               comment = directory.number<std::uint16_t>(), disk = directory.number<std::uint16_t>();
    directory.take(6);  // attributes
    file.local = directory.number<std::uint32_t>();
    file.name = directory.text(name);
    ByteReader zip64 = zip64_field(directory.take(extra));
    directory.take(comment);
    for (std::uint64_t* const number : {&file.size, &file.stored, &file.local})
      if (*number == in_zip64) *number = zip64.number<std::uint64_t>();

    check_name(file.name);
    if (disk != 0) wrong(file.name, "is in another part of a split archive");
    if ((file.flags & ~(has_descriptor | is_utf8)) != 0) wrong(file.name, "is encrypted or otherwise special");
    const bool code = file.name.find("/code/") != std::string_view::npos;
    if (file.method != 0 && !(file.method == 8 && code)) wrong(file.name, "is compressed, which PyTorch does not do");
    if (file.method == 0 && file.stored != file.size) wrong(file.name, "is stored, but in another size than its own");
    return file;
  }

  /// The numbers of the zip64 extra field; empty when there is none.
  ByteReader zip64_field(std::span<const std::byte> extra) const {
    ByteReader fields(extra, shown_);
    while (fields.left() >= 4) {
      const auto id = fields.number<std::uint16_t>();
      const std::span<const std::byte> field = fields.take(fields.number<std::uint16_t>());
      if (id == 1) return {field, shown_};
    }
    return {{}, shown_};
  }

  void check_name(std::string_view name) const {
    bool good = !name.empty() && name.find_first_of(std::string_view("\\:\0", 3)) == std::string_view::npos;
    for (std::size_t start = 0; good && start <= name.size();) {  // each part between slashes
      const std::size_t end = std::min(name.find('/', start), name.size());
      const std::string_view part = name.substr(start, end - start);
      good = part != ".." && part != "." && !part.empty();
      start = end + 1;
    }
    if (!good) wrong(name, "is no name that a file of an archive may have");
  }

  /// Checks the local header, the data and what follows it, all of which must end before `end`.
  ZipEntry local_file(const Central& file, std::uint64_t end) const {
    if (file.local > end || end - file.local < local_bytes) wrong(file.name, "overlaps what follows it");
    ByteReader local = at(file.local, end);
    const bool starts = local.number<std::uint32_t>() == local_signature;
    local.take(2);  // version
    const auto flags = local.number<std::uint16_t>(), method = local.number<std::uint16_t>();
    local.take(4);  // time and date
    const auto crc = local.number<std::uint32_t>();
    std::uint64_t stored = local.number<std::uint32_t>(), size = local.number<std::uint32_t>();
    const auto name = local.number<std::uint16_t>(), extra = local.number<std::uint16_t>();
    if (!starts || local.text(name) != file.name || flags != file.flags || method != file.method)
      wrong(file.name, "has a local header that contradicts the directory");
    ByteReader zip64 = zip64_field(local.take(extra));
    const bool wide = zip64.left() >= 16;
    for (std::uint64_t* const number : {&size, &stored})
      if (*number == in_zip64) *number = zip64.number<std::uint64_t>();

    const bool later = (flags & has_descriptor) != 0;  // checksum and sizes follow the data
    const bool agrees = crc == file.crc && stored == file.stored && size == file.size;
    if (!agrees && !(later && crc == 0 && stored == 0 && size == 0))
      wrong(file.name, "has a local header that contradicts the directory");
    if (file.stored > local.left()) wrong(file.name, "overlaps what follows it");
    ZipEntry entry{std::string(file.name), file.method != 0, local.take(file.stored)};
    if (later) check_descriptor(local, file, wide);
    if (!entry.compressed && crc32(entry.data) != file.crc) wrong(file.name, "is damaged: its checksum is wrong");
    return entry;
  }

  void check_descriptor(ByteReader& after, const Central& file, bool wide) const {
    const bool large = wide || file.size >= in_zip64 || file.stored >= in_zip64;
    if (after.left() < (large ? 24u : 16u)) wrong(file.name, "has no data descriptor");
    const bool good =
        after.number<std::uint32_t>() == descriptor_signature && after.number<std::uint32_t>() == file.crc;
    const std::uint64_t stored = large ? after.number<std::uint64_t>() : after.number<std::uint32_t>();
    const std::uint64_t size = large ? after.number<std::uint64_t>() : after.number<std::uint32_t>();
    if (!good || stored != file.stored || size != file.size)
      wrong(file.name, "has a data descriptor that contradicts the directory");
  }

  std::span<const std::byte> bytes_;
  std::string shown_;
  std::uint64_t directory_ = 0;  // where it starts: no file reaches beyond
};

}  // namespace

std::vector<ZipEntry> read_zip(const MappedFile& file) { return Zip(file).read(); }

bool is_zip(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  return bytes.size() >= 4 && std::memcmp(bytes.data(), &local_signature, 4) == 0;
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
  // Eight bytes a step, with a table for each: row n of the table passes a byte on through n more zero bytes.
  static const auto tables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[0][i] = i;
      for (int bit = 0; bit < 8; ++bit) t[0][i] = (t[0][i] >> 1) ^ ((t[0][i] & 1) != 0 ? 0xedb88320u : 0u);
    }
    for (std::size_t row = 1; row < 8; ++row)
      for (std::size_t i = 0; i < 256; ++i) t[row][i] = (t[row - 1][i] >> 8) ^ t[0][t[row - 1][i] & 0xff];
    return t;
  }();
  std::uint32_t crc = 0xffffffff;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (const std::byte byte : bytes) crc = (crc >> 8) ^ tables[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
  return ~crc;
}

}  // namespace clip
