// The first frame of a GIF, as Pillow shows it. Decoded here and not by stb_image, which accepts files cut off, and
// gives transparent pixels other colours than Pillow.
#include <algorithm>
#include <array>

#include "src/image/decoders.hpp"

namespace clip {
namespace {

using Palette = std::vector<std::uint8_t>;  // RGB; empty: the index is the gray level

/// The bytes of a chain of sub-blocks, until the empty one.
std::vector<std::uint8_t> read_blocks(PictureReader& file) {
  std::vector<std::uint8_t> bytes;
  while (const std::size_t size = file.u8()) {
    const auto block = file.take(size);
    bytes.insert(bytes.end(), block.begin(), block.end());
  }
  return bytes;
}

Palette read_palette(PictureReader& file, int flags) {
  if ((flags & 0x80) == 0) return {};
  const auto colors = file.take(std::size_t{6} << (flags & 7));
  return {colors.begin(), colors.end()};
}

bool is_gray_ramp(const Palette& palette) {
  for (std::size_t i = 0; i < palette.size(); ++i)
    if (palette[i] != i / 3) return false;
  return true;
}

/// Expands LZW codes of growing width (GIF 89a, appendix F) into exactly `count` indices.
std::vector<std::uint8_t> expand(std::span<const std::uint8_t> data, int first_bits, std::size_t count,
                                 const std::string& name) {
  constexpr int most_codes = 4096;
  if (first_bits < 1 || first_bits > 8) bad_image(name, "it has LZW codes of ", first_bits, " bits");
  const int clear = 1 << first_bits, end = clear + 1;
  std::array<std::uint16_t, most_codes> prefix{};
  std::array<std::uint8_t, most_codes> suffix{}, start{};  // last and first index of a code's string
  for (std::size_t i = 0; i < static_cast<std::size_t>(clear); ++i) start[i] = static_cast<std::uint8_t>(i);

  std::vector<std::uint8_t> out, string;
  out.reserve(count);
  std::uint32_t bits = 0;
  int held = 0, width = first_bits + 1, next = end + 1, last = -1;
  for (std::size_t at = 0; out.size() < count;) {
    for (; held < width && at < data.size(); held += 8) bits |= std::uint32_t{data[at++]} << held;
    if (held < width) bad_image(name, "its pixels are incomplete");
    const int code = static_cast<int>(bits & ((1U << width) - 1));
    bits >>= width;
    held -= width;
    if (code == end) bad_image(name, "its pixels are incomplete");
    if (code == clear) {
      width = first_bits + 1;
      next = end + 1;
      last = -1;
      continue;
    }
    if (code > next || (code == next && last < 0) || (last < 0 && code > clear))
      bad_image(name, "it has an LZW code without meaning");
    // the string of a code that is just being defined is the last one and that one's first index
    string.clear();
    auto walk = static_cast<std::size_t>(code == next ? last : code);
    const std::uint8_t first = start[walk];
    if (code == next) string.push_back(first);
    for (; walk > static_cast<std::size_t>(end); walk = prefix[walk]) string.push_back(suffix[walk]);
    string.push_back(static_cast<std::uint8_t>(walk));
    out.insert(out.end(), string.rbegin(), string.rend());
    if (last >= 0 && next < most_codes) {
      const auto defined = static_cast<std::size_t>(next++);
      prefix[defined] = static_cast<std::uint16_t>(last);
      suffix[defined] = first;
      start[defined] = start[static_cast<std::size_t>(last)];
      if (next == 1 << width && width < 12) ++width;
    }
    last = code;
  }
  out.resize(count);
  return out;
}

/// The row of the picture that the i-th row of an interlaced frame is.
std::vector<int> row_order(int height, bool interlaced) {
  std::vector<int> rows;
  if (!interlaced) {
    for (int y = 0; y < height; ++y) rows.push_back(y);
  } else {
    constexpr int starts[] = {0, 4, 2, 1}, steps[] = {8, 8, 4, 2};
    for (int pass = 0; pass < 4; ++pass)
      for (int y = starts[pass]; y < height; y += steps[pass]) rows.push_back(y);
  }
  return rows;
}

}  // namespace

Image decode_gif(Bytes bytes, const std::string& name, const ImageLimits& limits) {
  PictureReader file(bytes, name);
  file.seek(6);
  const int screen_width = file.u16(), screen_height = file.u16(), screen_flags = file.u8();
  file.take(2);  // background and aspect
  const Palette global = read_palette(file, screen_flags);

  std::uint8_t background = 0;  // transparent pixels have the colour that this index stands for
  for (int block = file.u8(); block != ','; block = file.u8()) {
    if (block == ';') bad_image(name, "it holds no picture");
    if (block != '!') continue;  // Pillow passes over stray bytes too
    const int label = file.u8();
    const auto content = read_blocks(file);
    if (label == 0xf9 && content.size() >= 4 && (content[0] & 1) != 0) background = content[3];
  }
  const int left = file.u16(), top = file.u16(), width = file.u16(), height = file.u16(), flags = file.u8();
  Palette palette = read_palette(file, flags);
  if (palette.empty()) palette = global;
  if (is_gray_ramp(palette)) palette.clear();

  Image image =
      new_image(std::max(screen_width, left + width), std::max(screen_height, top + height), Colors::rgb, name, limits);
  if (width == 0 || height == 0) bad_image(name, "its first frame is empty");
  image.indexed = !palette.empty();
  const int first_bits = file.u8();
  const auto indices =
      expand(read_blocks(file), first_bits, static_cast<std::size_t>(width) * static_cast<std::size_t>(height), name);

  const auto paint = [&](std::uint8_t* pixel, std::size_t index) {
    for (std::size_t c = 0; c < 3; ++c)
      if (palette.empty())
        pixel[c] = static_cast<std::uint8_t>(index);
      else
        pixel[c] = 3 * index + c < palette.size() ? palette[3 * index + c] : std::uint8_t{0};
  };
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) paint(&image.pixels[i], background);
  std::size_t at = 0;
  for (const int y : row_order(height, (flags & 0x40) != 0))
    for (int x = 0; x < width; ++x)
      paint(&image.pixels[3 * (static_cast<std::size_t>(top + y) * static_cast<std::size_t>(image.width) +
                               static_cast<std::size_t>(left + x))],
            indices[at++]);
  return image;
}

}  // namespace clip
