// Tells formats apart by their first bytes, never by the file's name.
#include <algorithm>
#include <string_view>

#include "clip/io/file.hpp"
#include "src/image/decoders.hpp"

namespace clip {
namespace {

// Weights of a resize take memory in proportion to the longest side.
constexpr std::int64_t longest_side = 1 << 20;

struct Format {
  std::size_t offset;
  std::string_view magic;
  const char* name;
  Image (*decode)(Bytes, const std::string&, const ImageLimits&);
};

using namespace std::string_view_literals;
constexpr Format formats[] = {
    {0, "\xff\xd8\xff"sv, "JPEG", decode_jpeg},
    {0, "\x89PNG\r\n\x1a\n"sv, "PNG", decode_png},
    {0, "GIF87a"sv, "GIF", decode_gif},
    {0, "GIF89a"sv, "GIF", decode_gif},
    {0, "BM"sv, "BMP", decode_bmp},
    {0, "P5"sv, "PNM", decode_pnm},
    {0, "P6"sv, "PNM", decode_pnm},
    // known well enough to be named
    {8, "WEBP"sv, "WebP", nullptr},
    {0, "II*\0"sv, "TIFF", nullptr},
    {0, "MM\0*"sv, "TIFF", nullptr},
    {4, "ftypavi"sv, "AVIF", nullptr},
    {4, "ftyphei"sv, "HEIF", nullptr},
    {4, "ftypmif1"sv, "HEIF", nullptr},
    {0, "\0\0\0\x0cjP  "sv, "JPEG 2000", nullptr},
    {0, "\xff\x0a"sv, "JPEG XL", nullptr},
    {0, "\0\0\0\x0cJXL "sv, "JPEG XL", nullptr},
    {0, "8BPS"sv, "Photoshop", nullptr},
    {0, "\0\0\1\0"sv, "icon", nullptr},
    {0, "<svg"sv, "SVG", nullptr},
    {0, "<?xml"sv, "XML or SVG", nullptr},
    {0, "<!DOCTYPE"sv, "HTML", nullptr},
    {0, "<html"sv, "HTML", nullptr},
    {0, "%PDF"sv, "PDF", nullptr},
};

}  // namespace

Image new_image(std::int64_t width, std::int64_t height, Colors colors, const std::string& name,
                const ImageLimits& limits) {
  if (width < 1 || height < 1) bad_image(name, "it has no pixels (", width, " x ", height, ")");
  if (width > longest_side || height > longest_side || width * height > limits.pixels)
    bad_image(name, "it has ", width, " x ", height, " pixels, more than the ", limits.pixels,
              " allowed, or a side of more than ", longest_side);
  Image image{static_cast<int>(width), static_cast<int>(height), colors, false, {}};
  image.pixels.resize(static_cast<std::size_t>(width * height * channels_of(colors)));
  return image;
}

Image decode_image(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits) {
  const std::string shown = printable(name);
  if (file.empty()) bad_image(shown, "the file is empty");
  const std::string_view start(reinterpret_cast<const char*>(file.data()), std::min<std::size_t>(file.size(), 64));
  for (const Format& format : formats) {
    if (start.size() < format.offset || !start.substr(format.offset).starts_with(format.magic)) continue;
    if (format.decode == nullptr)
      bad_image(shown, "it is ", format.name, ", which is not supported: convert it to JPEG or PNG");
    return format.decode(file, shown, limits);
  }
  bad_image(shown, "expected JPEG, PNG, GIF, BMP or PNM, got a file that starts with '", printable(start.substr(0, 8)),
            "'");
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  const std::string file = read_file(path, std::uint64_t{1} << 30);
  return decode_image(std::as_bytes(std::span(file)), path.string(), limits);
}

Image to_rgb(Image image) {
  if (image.colors == Colors::rgb) return image;
  const auto pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  std::uint8_t* to = image.pixels.data();  // in place: three bytes where four were read
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint8_t* from = image.pixels.data() + 4 * i;
    const int last = from[3];  // alpha or black
    for (int c = 0; c < 3; ++c) {
      int value = from[c];
      if (image.colors == Colors::cmyk) {
        const int white = 255 - last, ink = value * white + 128;  // ink / 255, rounded, is ((ink >> 8) + ink) >> 8
        value = std::max(0, white - (((ink >> 8) + ink) >> 8));
      }
      *to++ = static_cast<std::uint8_t>(value);
    }
  }
  image.pixels.resize(3 * pixels);
  image.colors = Colors::rgb;
  return image;
}

Image to_rgb(Image image, const std::array<std::uint8_t, 3>& background) {
  if (image.colors == Colors::rgba)
    for (std::size_t i = 0; i < image.pixels.size(); i += 4)
      for (std::size_t c = 0; c < 3; ++c) {
        const int alpha = image.pixels[i + 3], sum = image.pixels[i + c] * alpha + background[c] * (255 - alpha) + 128;
        image.pixels[i + c] = static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8);  // sum / 255, rounded
      }
  return to_rgb(std::move(image));
}

}  // namespace clip
