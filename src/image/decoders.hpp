#pragma once
// One decoder for each format: whole pictures or an error.
#include "clip/core/error.hpp"
#include "clip/image/image.hpp"

namespace clip {

using Bytes = std::span<const std::byte>;

Image decode_jpeg(Bytes file, const std::string& name, const ImageLimits& limits);
Image decode_png(Bytes file, const std::string& name, const ImageLimits& limits);
Image decode_gif(Bytes file, const std::string& name, const ImageLimits& limits);
Image decode_bmp(Bytes file, const std::string& name, const ImageLimits& limits);
Image decode_pnm(Bytes file, const std::string& name, const ImageLimits& limits);

/// A picture with room for its pixels, which are 0. Throws, naming the file, when it is empty or above the limits. To
/// be called before anything of its size is allocated.
Image new_image(std::int64_t width, std::int64_t height, Colors colors, const std::string& name,
                const ImageLimits& limits);

/// Throws about a picture.
template <class... Parts>
[[noreturn]] void bad_image(const std::string& name, const Parts&... what) {
  fail("image", "cannot decode '", name, "': ", what...);
}

/// Reads little-endian numbers from a file, and throws `bad_image` at its end.
class PictureReader {
 public:
  PictureReader(Bytes file, const std::string& name) : file_(file), name_(name) {}
  std::size_t position() const { return position_; }
  std::size_t left() const { return file_.size() - position_; }
  void seek(std::size_t position) {
    if (position > file_.size()) bad_image(name_, "the file is cut off");
    position_ = position;
  }
  std::span<const std::uint8_t> take(std::size_t count) {
    if (count > left()) bad_image(name_, "the file is cut off");
    const auto* from = reinterpret_cast<const std::uint8_t*>(file_.data()) + position_;
    position_ += count;
    return {from, count};
  }
  std::uint8_t u8() { return take(1)[0]; }
  std::uint16_t u16() { return static_cast<std::uint16_t>(little_endian(2)); }
  std::uint32_t u32() { return little_endian(4); }

 private:
  std::uint32_t little_endian(std::size_t count) {
    std::uint32_t value = 0;
    const auto bytes = take(count);
    for (std::size_t i = count; i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }

  Bytes file_;
  const std::string& name_;
  std::size_t position_ = 0;
};

}  // namespace clip
