#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace clip {

enum class Colors { rgb, rgba, cmyk };
inline int channels_of(Colors colors) { return colors == Colors::rgb ? 3 : 4; }

/// A decoded picture, eight bits a sample. Gray ones are decoded as RGB, gray ones with alpha as RGBA.
struct Image {
  int width = 0, height = 0;
  Colors colors = Colors::rgb;
  bool indexed = false;              ///< from a palette, or black and white: never resized but by `Filter::nearest`
  std::vector<std::uint8_t> pixels;  ///< [height][width][channels]
};

/// What a picture from a stranger may cost.
struct ImageLimits {
  std::int64_t pixels = std::int64_t{1} << 26;  ///< of the picture, and of what it is resized to
  int scans = 500;                              ///< of a progressive JPEG
};

/// Decodes JPEG, PNG, GIF (its first frame), BMP and PNM (P5, P6), told apart by content, to the samples that Pillow's
/// `Image.open` gives; EXIF orientation is ignored, as there. 16-bit gray is clipped to 255, other 16-bit samples lose
/// their low byte, as in Pillow's `convert("RGB")`. Throws, naming `name`, on other formats, on corrupt or incomplete
/// pixel data, and above the limits.
Image decode_image(std::span<const std::byte> file, const std::string& name, const ImageLimits& limits = {});
/// The same from a file.
Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// What Pillow's `convert("RGB")` gives: alpha is dropped, not blended.
Image to_rgb(Image image);
/// The picture on a background: alpha is blended.
Image to_rgb(Image image, const std::array<std::uint8_t, 3>& background);

}  // namespace clip
