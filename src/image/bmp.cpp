// Uncompressed BMP. Decoded here and not by stb_image, which accepts files cut off, and rounds five-bit samples unlike
// Pillow.
#include <algorithm>
#include <array>
#include <bit>

#include "src/image/decoders.hpp"

namespace clip {
namespace {

struct Header {
  std::uint32_t pixels_at = 0, size = 0;
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;
  std::uint32_t colors = 0;
  std::array<std::uint32_t, 4> masks{};  // of red, green, blue, alpha
};

Header read_header(PictureReader& file, const std::string& name) {
  Header h;
  file.seek(10);
  h.pixels_at = file.u32();
  h.size = file.u32();
  std::uint32_t compression = 0;
  if (h.size == 12) {
    h.width = file.u16();
    h.height = file.u16();
    file.u16();
    h.bits = file.u16();
  } else {
    constexpr std::uint32_t sizes[] = {40, 52, 56, 64, 108, 124};
    if (std::find(std::begin(sizes), std::end(sizes), h.size) == std::end(sizes))
      bad_image(name, "it has a BMP header of ", h.size, " bytes, which is not known");
    h.width = static_cast<std::int32_t>(file.u32());
    const std::int64_t height = static_cast<std::int32_t>(file.u32());
    h.top_down = height < 0;
    h.height = std::abs(height);
    file.u16();
    h.bits = file.u16();
    compression = file.u32();
    file.take(12);
    h.colors = file.u32();
    file.u32();
    if (compression == 3)
      for (std::size_t i = 0; i < (h.size >= 56 ? 4U : 3U); ++i) h.masks[i] = file.u32();
  }
  if (compression != 0 && compression != 3)
    bad_image(name, "it is a compressed BMP, which is not supported: convert it to PNG");
  if (h.bits <= 8 && compression == 0) return h;
  if (compression == 0 || h.masks == decltype(h.masks){})
    h.masks = h.bits == 16 ? decltype(h.masks){0x7c00, 0x3e0, 0x1f, 0}
                           : decltype(h.masks){0xff0000, 0xff00, 0xff, compression == 0 ? 0 : 0xff000000};
  return h;
}

/// Bits of a sample's mask, lowest first.
struct Field {
  int shift = 0;
  std::uint32_t most = 0;  // 0: there is no such sample
};
Field field_of(std::uint32_t mask, int bits, const std::string& name) {
  if (mask == 0) return {};
  const auto shift = std::countr_zero(mask);
  const std::uint32_t most = mask >> shift;
  if ((most & (most + 1)) != 0 || most > 255 || static_cast<int>(std::bit_width(mask)) > bits)
    bad_image(name, "it has samples in bits 0x", std::hex, mask, ", which is not supported");
  return {shift, most};
}

}  // namespace

Image decode_bmp(Bytes bytes, const std::string& name, const ImageLimits& limits) {
  PictureReader file(bytes, name);
  const Header h = read_header(file, name);
  constexpr int depths[] = {1, 4, 8, 16, 24, 32};
  if (std::find(std::begin(depths), std::end(depths), h.bits) == std::end(depths))
    bad_image(name, "it has ", h.bits, " bits a pixel, which BMP does not know");
  Image image = new_image(h.width, h.height, h.masks[3] != 0 ? Colors::rgba : Colors::rgb, name, limits);

  std::vector<std::uint8_t> palette;  // RGB
  if (h.bits <= 8) {
    const std::uint32_t colors = h.colors == 0 ? 1U << h.bits : h.colors;
    if (colors > 256) bad_image(name, "it has a palette of ", colors, " colours");
    file.seek(14 + h.size);
    bool ramp = true;
    for (std::uint32_t i = 0; i < colors; ++i) {
      const auto entry = file.take(h.size == 12 ? 3 : 4);
      palette.insert(palette.end(), {entry[2], entry[1], entry[0]});
      ramp = ramp && entry[0] == i && entry[1] == i && entry[2] == i;
    }
    image.indexed = !ramp || colors == 2;
    palette.resize(3 * 256);
  }
  std::array<Field, 4> fields;
  for (std::size_t c = 0; c < 4; ++c) fields[c] = field_of(h.masks[c], h.bits, name);

  const auto width = static_cast<std::size_t>(h.width), height = static_cast<std::size_t>(h.height);
  const auto depth = static_cast<std::size_t>(h.bits), channels = static_cast<std::size_t>(channels_of(image.colors));
  const std::size_t row_bytes = (width * depth + 31) / 32 * 4;
  file.seek(h.pixels_at);
  for (std::size_t y = 0; y < height; ++y) {
    // the last row may lack its padding
    const auto row = file.take(std::min(row_bytes, std::max(file.left(), (width * depth + 7) / 8)));
    std::uint8_t* to = &image.pixels[(h.top_down ? y : height - 1 - y) * width * channels];
    for (std::size_t x = 0; x < width; ++x, to += channels) {
      if (depth <= 8) {
        const std::size_t bit = x * depth;
        const std::size_t index = (std::size_t{row[bit / 8]} >> (8 - depth - bit % 8)) & ((1U << depth) - 1);
        std::copy_n(&palette[3 * index], 3, to);
      } else {
        std::uint32_t pixel = 0;
        for (std::size_t b = depth / 8; b-- > 0;) pixel = pixel << 8 | row[x * depth / 8 + b];
        for (std::size_t c = 0; c < channels; ++c) {
          const Field& f = fields[c];
          to[c] = f.most == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>((pixel >> f.shift & f.most) * 255 / f.most);
        }
      }
    }
  }
  return image;
}

}  // namespace clip
