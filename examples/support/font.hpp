#pragma once
// Text drawn into pictures, with a stroke font of our own: printable ASCII and Latin-1.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clip/image/image.hpp"

namespace clip {

using Color = std::array<std::uint8_t, 3>;

struct Font {
  double height;        ///< of capital letters, in pixels
  double weight = 1.2;  ///< of strokes, a ninth of the height each
  Color color = {32, 33, 36};

  /// From one baseline to the next.
  double line() const { return height * 2; }
  double width(std::string_view utf8) const;
  /// Draws on an RGB picture; what lies outside is left out. `baseline` counts from the top. Characters without a glyph
  /// are boxes.
  void draw(Image& image, double left, double baseline, std::string_view utf8) const;
  /// The text in at most `lines` lines of at most `width` pixels, broken between words where that is possible; ends
  /// with dots where text is left out.
  std::vector<std::string> wrap(std::string_view utf8, double width, std::size_t lines) const;
};

}  // namespace clip
