#include "clip/io/file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "clip/core/error.hpp"

namespace clip {
namespace {

constexpr std::size_t buffer_bytes = 1 << 20;
constexpr std::uint64_t largest_copy = std::uint64_t{1} << 32;

/// An open file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Opens a regular file, and says how large it is. Not blocking: opening a FIFO would wait for its writer.
std::uint64_t open_regular(int descriptor, const std::filesystem::path& path, const char* where) {
  check(descriptor >= 0, where, "cannot open ", quoted(path), ": ", std::strerror(errno));
  struct stat status {};
  check(::fstat(descriptor, &status) == 0, where, "cannot open ", quoted(path), ": ", std::strerror(errno));
  check(S_ISREG(status.st_mode), where, "expected a file, but ", quoted(path), " is ",
        S_ISDIR(status.st_mode) ? "a folder" : "no regular file");
  return static_cast<std::uint64_t>(status.st_size);
}
int open_to_read(const std::filesystem::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/// All that an open file holds, which may be more than the size it tells: that is 0 in /proc.
std::string read_all(const Descriptor& file, const std::filesystem::path& path, std::uint64_t size,
                     std::uint64_t max_bytes) {
  const auto check_size = [&](std::uint64_t bytes) {
    check(bytes <= max_bytes, "read", quoted(path), " has ", bytes, " bytes, more than the ", max_bytes, " allowed");
  };
  check_size(size);
  std::string content;
  for (std::size_t done = 0;;) {
    if (done == content.size()) content.resize(done == 0 ? static_cast<std::size_t>(size) + 1 : 2 * done);
    const ssize_t got = ::read(file, content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    check(got >= 0, "read", "cannot read ", quoted(path), ": ", std::strerror(errno));
    done += static_cast<std::size_t>(got);
    check_size(done);
    if (got > 0) continue;
    content.resize(done);
    return content;
  }
}

/// The folder a path lies in, as one that can be opened.
std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file(open_to_read(path));
  const auto size = static_cast<std::size_t>(open_regular(file, path, "read"));
  if (size == 0) {  // nothing that can be mapped
    const auto content = std::make_shared<std::string>(read_all(file, path, size, largest_copy));
    bytes_ = std::as_bytes(std::span(*content));
    mapping_ = content;
    return;
  }
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  check(memory != MAP_FAILED, "read", "cannot map ", quoted(path), ": ", std::strerror(errno));
  mapping_ = std::shared_ptr<void>(memory, [size](void* m) { ::munmap(m, size); });
  bytes_ = {static_cast<const std::byte*>(memory), size};
}

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const Descriptor file(open_to_read(path));
  const std::uint64_t size = open_regular(file, path, "read");
  return read_all(file, path, size, max_bytes);
}

NewFile::NewFile(const std::filesystem::path& path) : path_(path) {
  static std::atomic<unsigned> count{0};
  check(path.has_filename(), "write", "expected the name of a file, got ", quoted(path));
  std::error_code error;
  if (const auto target = std::filesystem::canonical(path, error); !error) path_ = target;  // a link stays one
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0)
    check(S_ISREG(status.st_mode), "write", "cannot replace ", quoted(path), ": it is ",
          S_ISDIR(status.st_mode) ? "a folder" : "no regular file");
  temporary_ = folder_of(path_) / ('.' + path_.filename().string() + ".tmp-" + std::to_string(::getpid()) + '-' +
                                   std::to_string(count.fetch_add(1)));
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  check(descriptor_ >= 0, "write", "cannot write ", quoted(path), ": ", std::strerror(errno));
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void NewFile::write(std::span<const std::byte> bytes) {
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (buffer_.size() >= buffer_bytes) flush();
}

void NewFile::flush() {
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t wrote = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    check(wrote >= 0, "write", "cannot write ", quoted(path_), ": ", std::strerror(errno));
    done += static_cast<std::size_t>(wrote);
  }
  buffer_.clear();
}

void NewFile::commit() {
  check(descriptor_ >= 0, "write", quoted(path_), " was committed before");
  flush();
  check(::fsync(descriptor_) == 0, "write", "cannot write ", quoted(path_), ": ", std::strerror(errno));
  check(::rename(temporary_.c_str(), path_.c_str()) == 0, "write", "cannot write ", quoted(path_), ": ",
        std::strerror(errno));
  ::close(std::exchange(descriptor_, -1));
  const Descriptor folder(::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(folder >= 0 && ::fsync(folder) == 0, "write", "cannot sync the folder of ", quoted(path_), ": ",
        std::strerror(errno));
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  NewFile file(path);
  file.write(content);
  file.commit();
}

std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const unsigned char second = byte(1);  // overlong forms, surrogates, and what lies beyond U+10FFFF
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
      (first == 0xf4 && second > 0x8f))
    return 0;
  return length;
}

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

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 200;
  constexpr char digits[] = "0123456789abcdef";
  std::string shown;
  while (!text.empty()) {
    if (shown.size() >= longest) return shown + "…";
    const std::size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control =
        first < 0x20 || first == 0x7f || (length == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (length == 0 || control) {
      for (std::size_t i = 0; i < std::max<std::size_t>(length, 1); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        shown += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      }
    } else {
      shown += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return shown;
}

std::string quoted(const std::filesystem::path& path) { return '\'' + printable(path.string()) + '\''; }

}  // namespace clip
