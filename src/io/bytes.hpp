#pragma once
// Reading little-endian numbers from bytes that may end too soon.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "clip/core/error.hpp"

namespace clip {

/// Takes values off the front of some bytes; throws, saying of what file, when there are too few.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  /// A number in the machine's order, which is the files': little-endian.
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(std::uint64_t count) {
    check(count <= bytes_.size() - position_, "read", file_, " is cut off: ", count, " bytes wanted at ", position_,
          ", got ", bytes_.size() - position_);
    const std::span<const std::byte> taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }
  std::string_view text(std::uint64_t count) {
    const std::span<const std::byte> taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// Up to the next newline, which is taken too.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, bytes_.size() - position_);
    const std::size_t end = rest.find('\n');
    check(end != std::string_view::npos, "read", file_, " is cut off: no end of the line at ", position_);
    position_ += end + 1;
    return rest.substr(0, end);
  }
  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  const std::string& file() const { return file_; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  std::string file_;
};

}  // namespace clip
