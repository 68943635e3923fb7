// Binary PGM (P5) and PPM (P6) of eight bits.
#include <algorithm>

#include "src/image/decoders.hpp"

namespace clip {
namespace {

/// A number of the header, after white space and comments.
std::int64_t read_number(PictureReader& file, const std::string& name) {
  constexpr std::int64_t most = 1 << 30;
  int c = file.u8();
  for (; c == ' ' || (c >= '\t' && c <= '\r') || c == '#'; c = file.u8())
    if (c == '#')
      while (file.u8() != '\n') {
      }
  std::int64_t value = 0;
  if (c < '0' || c > '9') bad_image(name, "expected a number in the header");
  for (; c >= '0' && c <= '9'; c = file.u8()) value = std::min(10 * value + c - '0', most);
  return value;  // and the one white space after it is passed
}

}  // namespace

Image decode_pnm(Bytes bytes, const std::string& name, const ImageLimits& limits) {
  PictureReader file(bytes, name);
  file.u8();
  const bool gray = file.u8() == '5';
  const std::int64_t width = read_number(file, name), height = read_number(file, name);
  const std::int64_t brightest = read_number(file, name);
  if (brightest != 255) bad_image(name, "expected samples up to 255, got up to ", brightest);
  Image image = new_image(width, height, Colors::rgb, name, limits);
  const auto samples = file.take(gray ? image.pixels.size() / 3 : image.pixels.size());
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = samples[gray ? i / 3 : i];
  return image;
}

}  // namespace clip
