#pragma once
#include <optional>

#include "clip/image/image.hpp"

namespace clip {

enum class Filter { nearest, box, bilinear, bicubic };

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

/// A rectangle of a picture; it may reach beyond it.
struct Window {
  int left = 0, top = 0, width = 0, height = 0;
};

/// The picture resized, bit for bit as Pillow 13's `Image.resize`: antialiased, columns and rows in two passes, each
/// rounded to eight bits; RGBA is premultiplied meanwhile; indexed pictures are resized by `nearest`. (Earlier versions
/// of Pillow differ, by 1 at most places, where a picture loses more than twice as much in height as in width.) With a
/// `part`, only that window of the result, and zeros where it reaches beyond. Throws on empty sizes and when the result
/// or the part has more than `max_pixels`.
Image resize(const Image& image, Size size, Filter filter, std::optional<Window> part = {},
             std::int64_t max_pixels = ImageLimits().pixels);

}  // namespace clip
