// Pillow's arithmetic (Resample.c, Geometry.c): weights in double, normalised, then 22-bit fixed point.
#include "clip/image/resize.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "clip/core/error.hpp"
#include "kernels/resize.hpp"

namespace clip {
namespace {

constexpr double one = 1 << 22;

/// Half the width of a filter, in output pixels or, where the picture grows, in input pixels.
double support_of(Filter filter) {
  switch (filter) {
    case Filter::box: return 0.5;
    case Filter::bilinear: return 1;
    default: return 2;
  }
}

double weight_of(Filter filter, double x) {
  constexpr double a = -0.5;
  if (filter == Filter::box) return x > -0.5 && x <= 0.5 ? 1 : 0;
  x = std::abs(x);
  if (filter == Filter::bilinear) return x < 1 ? 1 - x : 0;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/// The weights of outputs [begin, begin + outputs) of an axis, for `kernels::ResizeAxis`.
struct Axis {
  std::vector<std::int32_t> first, weights;
  std::int64_t taps = 1;

  Axis(int in, int out, Filter filter, int begin, int outputs) {
    const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0);
    const double support = support_of(filter) * stretch;
    const auto most = static_cast<std::size_t>(2 * std::ceil(support) + 1);
    struct Taps {
      std::size_t skipped, count;  // without the zeros at both ends
    };
    std::vector<Taps> used;
    std::vector<double> exact(most);
    std::vector<std::int32_t> rounded(static_cast<std::size_t>(outputs) * most);
    for (int i = 0; i < outputs; ++i) {
      const double centre = (begin + i + 0.5) * scale;
      // cut, not rounded: a bound below 0 must become 0
      const double low = centre - support + 0.5, high = centre + support + 0.5;
      const int from = std::max(0, static_cast<int>(low)), to = std::min(in, static_cast<int>(high));
      double sum = 0;
      for (int x = from; x < to; ++x) {
        const double weight = weight_of(filter, (x - centre + 0.5) * (1.0 / stretch));
        exact[static_cast<std::size_t>(x - from)] = weight;
        sum += weight;
      }
      std::int32_t* const row = &rounded[static_cast<std::size_t>(i) * most];
      auto count = static_cast<std::size_t>(std::max(0, to - from)), skipped = std::size_t{0};
      for (std::size_t t = 0; t < count; ++t) {
        const double scaled = (sum != 0 ? exact[t] / sum : exact[t]) * one;
        row[t] = static_cast<std::int32_t>(scaled + (scaled < 0 ? -0.5 : 0.5));
      }
      while (count > 0 && row[count - 1] == 0) --count;
      while (skipped < count && row[skipped] == 0) ++skipped;
      first.push_back(std::min(from + static_cast<int>(skipped), in - 1));
      used.push_back({skipped, count - skipped});
      taps = std::max(taps, static_cast<std::int64_t>(count - skipped));
    }
    // all get as many taps: those at the end of the input begin earlier, with weights of 0
    weights.resize(static_cast<std::size_t>(outputs * taps));
    for (std::size_t i = 0; i < used.size(); ++i) {
      const auto shift = std::max<std::int64_t>(0, first[i] + taps - in);
      first[i] -= static_cast<std::int32_t>(shift);
      std::copy_n(&rounded[i * most + used[i].skipped], used[i].count,
                  weights.begin() + static_cast<std::int64_t>(i) * taps + shift);
    }
  }
  int begin() const { return *std::min_element(first.begin(), first.end()); }
  int end() const { return *std::max_element(first.begin(), first.end()) + static_cast<int>(taps); }
  /// For an input that starts at `origin`.
  kernels::ResizeAxis from(int origin) {
    for (std::int32_t& f : first) f -= origin;
    return {first.data(), weights.data(), static_cast<std::int64_t>(first.size()), taps};
  }
};

/// Rows of samples, `stride` bytes apart, of a picture or of a buffer.
struct Rows {
  const std::uint8_t* at;
  std::int64_t stride;
};

using Buffer = std::unique_ptr<std::uint8_t[]>;
Buffer new_buffer(std::int64_t count) {
  return std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(count));
}

/// `part` of the picture resized, written to y, whose rows are contiguous. The part lies inside.
void filter_into(std::uint8_t* y, const Image& image, Size size, Filter filter, const Window& part) {
  const std::int64_t channels = channels_of(image.colors), out_bytes = part.width * channels;
  // what of the picture is needed
  int left = part.left, right = left + part.width, top = part.top;
  kernels::ResizeAxis across{}, down{};
  std::optional<Axis> horizontal, vertical;  // without one where the size stays
  if (size.width != image.width) {
    horizontal.emplace(image.width, size.width, filter, part.left, part.width);
    left = horizontal->begin();
    right = horizontal->end();
    across = horizontal->from(left);
  }
  if (size.height != image.height) {
    vertical.emplace(image.height, size.height, filter, part.top, part.height);
    top = vertical->begin();
    down = vertical->from(top);
  }
  const std::int64_t stride = image.width * channels, columns = right - left;
  Rows rows{image.pixels.data() + top * stride + left * channels, stride};

  // Columns first, unless the height shrinks by more than twice what the width does: Pillow's rule since version 13.
  // Before it was always columns first.
  const bool rows_first =
      image.height > size.height && image.height - size.height > 2 * (std::int64_t{image.width} - size.width);
  Buffer flattened;
  if (horizontal && vertical && rows_first) {
    flattened = new_buffer(part.height * columns * channels);
    kernels::cpu::resize_rows(flattened.get(), rows.at, rows.stride, columns * channels, down);
    rows = {flattened.get(), columns * channels};
    vertical.reset();
  }

  // In strips, so that what one pass writes is in the caches for the next; the few rows that two strips need are
  // narrowed twice.
  constexpr int strip = 64;
  const std::int64_t narrow_stride = kernels::cpu::resized_row_bytes(part.width, channels);
  Buffer narrowed;
  std::int64_t room = 0;  // rows of it
  const Buffer scratch = new_buffer(horizontal ? columns * 16 : 0);
  for (int start = 0; start < part.height; start += strip) {
    const int outputs = std::min(strip, part.height - start);
    std::array<std::int32_t, strip> first{};
    std::int64_t begin = start, count = outputs;  // rows that this strip needs
    if (vertical) {
      const auto [low, high] = std::minmax_element(down.first + start, down.first + start + outputs);
      begin = *low;
      count = *high + down.taps - begin;
      for (int i = 0; i < outputs; ++i) first[static_cast<std::size_t>(i)] = down.first[start + i] - *low;
    }
    Rows needed{rows.at + begin * rows.stride, rows.stride};
    if (horizontal) {
      if (count > room) narrowed = new_buffer((room = count) * narrow_stride);
      kernels::cpu::resize_columns(narrowed.get(), needed.at, needed.stride, count, columns, static_cast<int>(channels),
                                   across, scratch.get());
      needed = {narrowed.get(), narrow_stride};
    }
    std::uint8_t* const to = y + start * out_bytes;
    if (vertical)
      kernels::cpu::resize_rows(to, needed.at, needed.stride, out_bytes,
                                {first.data(), down.weights + start * down.taps, outputs, down.taps});
    else
      for (int r = 0; r < outputs; ++r) std::copy_n(needed.at + r * needed.stride, out_bytes, to + r * out_bytes);
  }
}

/// Input index of each output; Pillow adds up the step, and so its rounding errors.
std::vector<int> nearest_indices(int in, int out, int begin, int outputs) {
  const double scale = static_cast<double>(in) / out;
  std::vector<int> indices;
  double at = 0.5 * scale;
  for (int i = 0; i < begin + outputs; ++i, at += scale)
    if (i >= begin) indices.push_back(std::min(static_cast<int>(at), in - 1));
  return indices;
}

void pick_into(std::uint8_t* y, const Image& image, Size size, const Window& part) {
  const std::int64_t channels = channels_of(image.colors);
  const auto columns = nearest_indices(image.width, size.width, part.left, part.width);
  for (const int row : nearest_indices(image.height, size.height, part.top, part.height))
    for (const int column : columns) {
      const std::int64_t pixel = std::int64_t{row} * image.width + column;
      y = std::copy_n(image.pixels.data() + pixel * channels, channels, y);
    }
}

/// Colours times alpha, and back, so that transparent pixels do not colour their neighbours.
void premultiply(std::vector<std::uint8_t>& rgba) {
  for (std::size_t i = 0; i < rgba.size(); i += 4)
    for (std::size_t c = 0; c < 3; ++c) {
      const int product = rgba[i + c] * rgba[i + 3] + 128;
      rgba[i + c] = static_cast<std::uint8_t>(((product >> 8) + product) >> 8);
    }
}
void unpremultiply(std::vector<std::uint8_t>& rgba) {
  for (std::size_t i = 0; i < rgba.size(); i += 4)
    for (std::size_t c = 0; c < 3 && rgba[i + 3] != 0; ++c)
      rgba[i + c] = static_cast<std::uint8_t>(std::min(255, 255 * rgba[i + c] / rgba[i + 3]));
}

/// What of [begin, begin + length) lies in [0, size).
struct Overlap {
  int begin, length;
};
Overlap overlap(int begin, int length, int size) {
  const int from = std::clamp(begin, 0, size), to = std::clamp(begin + length, from, size);
  return {from, to - from};
}

}  // namespace

Image resize(const Image& image, Size size, Filter filter, std::optional<Window> part, std::int64_t max_pixels) {
  const Window all{0, 0, size.width, size.height}, window = part.value_or(all);
  check(image.width > 0 && image.height > 0 &&
            image.pixels.size() == static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) *
                                       static_cast<std::size_t>(channels_of(image.colors)),
        "resize", "expected a picture with as many samples as its size says, got ", image.width, " x ", image.height,
        " and ", image.pixels.size(), " samples");
  for (const Size s : {size, Size{window.width, window.height}})
    check(s.width > 0 && s.height > 0 && std::int64_t{s.width} * s.height <= max_pixels, "resize",
          "expected a size of 1 to ", max_pixels, " pixels, got ", s.width, " x ", s.height);
  constexpr int furthest = 1 << 30;
  check(std::abs(std::int64_t{window.left}) < furthest && std::abs(std::int64_t{window.top}) < furthest, "resize",
        "expected a window within 2^30 pixels of the picture, got one at ", window.left, ", ", window.top);

  const bool same = size == Size{image.width, image.height};
  const Overlap x = overlap(window.left, window.width, size.width), y = overlap(window.top, window.height, size.height);
  const Window inside{x.begin, y.begin, x.length, y.length};
  const std::size_t channels = static_cast<std::size_t>(channels_of(image.colors));
  const auto samples = [&](const Window& w) {
    return static_cast<std::size_t>(w.width) * static_cast<std::size_t>(w.height) * channels;
  };
  Image result{inside.width, inside.height, image.colors, image.indexed, std::vector<std::uint8_t>(samples(inside))};
  if (inside.width > 0 && inside.height > 0) {
    if (image.indexed || filter == Filter::nearest) {
      pick_into(result.pixels.data(), image, size, inside);
    } else if (image.colors == Colors::rgba && !same) {
      Image multiplied = image;
      premultiply(multiplied.pixels);
      filter_into(result.pixels.data(), multiplied, size, filter, inside);
      unpremultiply(result.pixels);
    } else {
      filter_into(result.pixels.data(), image, size, filter, inside);
    }
  }
  if (inside.width == window.width && inside.height == window.height) return result;

  Image padded{window.width, window.height, image.colors, image.indexed, std::vector<std::uint8_t>(samples(window))};
  const auto row = static_cast<std::size_t>(inside.width) * channels;
  for (int r = 0; r < inside.height && inside.width > 0; ++r) {
    const auto to = static_cast<std::size_t>(inside.top - window.top + r) * static_cast<std::size_t>(window.width) +
                    static_cast<std::size_t>(inside.left - window.left);
    std::copy_n(result.pixels.data() + static_cast<std::size_t>(r) * row, row, padded.pixels.data() + to * channels);
  }
  return padded;
}

}  // namespace clip
