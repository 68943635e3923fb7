#include "clip/image/augment.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <numbers>

#include "clip/core/error.hpp"
#include "clip/core/random.hpp"

namespace clip {
namespace {

/// A part of the picture, as RGB.
Image cut(const Image& image, const Window& part, const std::array<std::uint8_t, 3>& background) {
  const auto channels = static_cast<std::size_t>(channels_of(image.colors));
  Image out{part.width, part.height, image.colors, false, {}};
  out.pixels.resize(static_cast<std::size_t>(part.width) * static_cast<std::size_t>(part.height) * channels);
  const std::size_t row = static_cast<std::size_t>(part.width) * channels;
  for (int y = 0; y < part.height; ++y) {
    const auto from = static_cast<std::size_t>(part.top + y) * static_cast<std::size_t>(image.width) +
                      static_cast<std::size_t>(part.left);
    std::copy_n(image.pixels.data() + from * channels, row, out.pixels.data() + static_cast<std::size_t>(y) * row);
  }
  return to_rgb(std::move(out), background);
}

/// The longest window of these proportions that covers so much of the picture, as far as the picture reaches.
Window crop_of(const Image& image, double proportions, const Variation& v) {
  const double area = v.area * image.width * image.height, shape = proportions * v.stretch;
  const auto side = [](double length, int limit) {
    return std::clamp(static_cast<int>(std::lround(length)), 1, limit);
  };
  const int width = side(std::sqrt(area * shape), image.width), height = side(std::sqrt(area / shape), image.height);
  return {static_cast<int>(std::lround(v.left * (image.width - width))),
          static_cast<int>(std::lround(v.top * (image.height - height))), width, height};
}

/// RGB, turned clockwise about its middle, bilinearly; what nothing turns to is as the nearest pixel. `aspect` is a
/// pixel's width over its height in the picture as it was before it was squashed.
Image turned(const Image& image, double angle, double aspect) {
  Image out = image;
  const double c = std::cos(angle), s = std::sin(angle);
  const int right = image.width - 1, bottom = image.height - 1;
  const auto pixel = [&](int x, int y) {
    return image.pixels.data() + 3 * (static_cast<std::ptrdiff_t>(y) * image.width + x);
  };
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x, to += 3) {
      const double dx = x - right / 2., dy = y - bottom / 2.;
      const double from_x = std::clamp(right / 2. + c * dx + s / aspect * dy, 0., static_cast<double>(right)),
                   from_y = std::clamp(bottom / 2. - s * aspect * dx + c * dy, 0., static_cast<double>(bottom));
      const int x0 = static_cast<int>(from_x), y0 = static_cast<int>(from_y), x1 = std::min(x0 + 1, right),
                y1 = std::min(y0 + 1, bottom);
      const double fx = from_x - x0, fy = from_y - y0;
      for (std::size_t i = 0; i < 3; ++i)
        to[i] = static_cast<std::uint8_t>(std::lround((1 - fy) * ((1 - fx) * pixel(x0, y0)[i] + fx * pixel(x1, y0)[i]) +
                                                      fy * ((1 - fx) * pixel(x0, y1)[i] + fx * pixel(x1, y1)[i])));
    }
  return out;
}

}  // namespace

Variation Variation::draw(const Augmentation& how, std::uint64_t seed, std::int64_t epoch, std::int64_t picture) {
  std::array<std::uint32_t, 24> words;
  for (std::uint32_t block = 0; block < 6; ++block) {
    // "varY" keeps these numbers apart from all others that the seed names
    const auto four =
        philox({static_cast<std::uint32_t>(picture), static_cast<std::uint32_t>(epoch), block, 0x79726176},
               {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    std::copy(four.begin(), four.end(), words.begin() + 4 * block);
  }
  const auto uniform = [&](std::size_t i) { return words[i] * 0x1p-32; };  // [0, 1)
  const auto factor = [&](std::size_t i, float range) { return 1 + range * static_cast<float>(2 * uniform(i) - 1); };
  Variation v{};
  v.area = how.min_area + (1 - how.min_area) * uniform(0);
  v.stretch = std::pow(how.max_stretch, 2 * uniform(1) - 1);
  v.left = uniform(2);
  v.top = uniform(3);
  v.flip = uniform(4) < how.flip;
  v.brightness = factor(5, how.brightness);
  v.contrast = factor(6, how.contrast);
  v.saturation = factor(7, how.saturation);
  v.turn = how.turn * std::numbers::pi / 180 * (2 * uniform(20) - 1);
  const bool white = uniform(11) < how.white;
  for (std::size_t c = 0; c < 3; ++c) v.background[c] = white ? 255 : static_cast<std::uint8_t>(words[8 + c] >> 24);
  if (uniform(12) < how.erase) {
    v.erased.width = 0.2 + 0.3 * uniform(13);
    v.erased.height = 0.2 + 0.3 * uniform(14);
    v.erased.left = (1 - v.erased.width) * uniform(15);
    v.erased.top = (1 - v.erased.height) * uniform(16);
    for (std::size_t c = 0; c < 3; ++c) v.erased.color[c] = static_cast<std::uint8_t>(words[17 + c] >> 24);
  }
  return v;
}

AugmentedPictures::AugmentedPictures(std::vector<std::filesystem::path> files, const Preprocessing& settings,
                                     std::uint64_t seed, const Augmentation& how, std::int64_t memory,
                                     const ImageLimits& limits)
    : files_(std::move(files)),
      settings_(settings),
      size_(Preprocessor(settings, limits).size()),
      seed_(seed),
      how_(how),
      memory_(memory),
      limits_(limits),
      kept_(files_.size()) {
  check(how.min_area > 0 && how.min_area <= 1 && how.max_stretch >= 1 && how.max_stretch <= 100, "augment",
        "expected a least area above 0 and up to 1, and a stretch of 1 to 100, got ", how.min_area, " and ",
        how.max_stretch);
  check(how.turn >= 0 && how.turn <= 180, "augment", "expected pictures to turn by 0 to 180 degrees, got ", how.turn);
  for (const double probability : {how.flip, how.white, how.erase})
    check(probability >= 0 && probability <= 1, "augment",
          "expected probabilities to flip, of white and to erase, got ", how.flip, ", ", how.white, " and ", how.erase);
  for (const float range : {how.brightness, how.contrast, how.saturation})
    check(range >= 0 && range <= 1, "augment", "expected colours to vary by 0 to 1, got ", range);
}

Image AugmentedPictures::read(const std::filesystem::path& file) const {
  Image image = read_image(file, limits_);
  if (image.colors == Colors::cmyk) image = to_rgb(std::move(image));
  image.indexed = false;
  const int shorter = std::min(image.width, image.height), wanted = 3 * std::max(size_.width, size_.height) / 2;
  if (shorter <= wanted) return image;
  const auto shrunk = [&](int side) { return static_cast<int>(std::int64_t{side} * wanted / shorter); };
  return resize(image, {shrunk(image.width), shrunk(image.height)}, settings_.filter, {}, limits_.pixels);
}

void AugmentedPictures::write(float* out, const Size& size, const Image& image, const Variation& v) const {
  const bool squash = settings_.size != Size{};
  const double proportions =
      squash ? static_cast<double>(image.width) / image.height : static_cast<double>(size_.width) / size_.height;
  const Window crop = crop_of(image, proportions, v);
  Image rgb = resize(cut(image, crop, v.background), size, settings_.filter);
  const double aspect = static_cast<double>(crop.width) * static_cast<double>(size.height) /
                        (static_cast<double>(crop.height) * static_cast<double>(size.width));
  if (v.turn != 0) rgb = turned(rgb, v.turn, aspect);
  const auto at = [](double part, std::int64_t side) {
    return static_cast<std::int64_t>(part * static_cast<double>(side));
  };
  for (std::int64_t y = at(v.erased.top, size.height); y < at(v.erased.top + v.erased.height, size.height); ++y)
    for (std::int64_t x = at(v.erased.left, size.width); x < at(v.erased.left + v.erased.width, size.width); ++x)
      std::copy(v.erased.color.begin(), v.erased.color.end(), rgb.pixels.begin() + 3 * (y * size.width + x));

  std::array<float, 3> scale{}, shift{};  // from samples to the model's input
  for (std::size_t c = 0; c < 3; ++c) {
    scale[c] = static_cast<float>(settings_.rescale) / settings_.std[c];
    shift[c] = -settings_.mean[c] / settings_.std[c];
  }
  const float own = v.brightness * v.contrast * v.saturation, gray = v.brightness * v.contrast * (1 - v.saturation),
              base = v.brightness * 128 * (1 - v.contrast);
  const std::uint8_t* in = rgb.pixels.data();
  for (std::int64_t y = 0; y < size.height; ++y)
    for (std::int64_t x = 0; x < size.width; ++x, in += 3) {
      const float sample[3] = {static_cast<float>(in[0]), static_cast<float>(in[1]), static_cast<float>(in[2])};
      const float luma = 0.299F * sample[0] + 0.587F * sample[1] + 0.114F * sample[2];
      float* to = out + 3 * (y * size.width + (v.flip ? size.width - 1 - x : x));
      for (std::size_t c = 0; c < 3; ++c)
        to[c] = std::clamp(own * sample[c] + gray * luma + base, 0.F, 255.F) * scale[c] + shift[c];
    }
}

Tensor AugmentedPictures::operator()(const Image& image, const Variation& variation) const {
  Tensor pixels({1, size_.height, size_.width, 3});
  write(pixels.mutable_data<float>(), size_, image, variation);
  return pixels;
}

Tensor AugmentedPictures::operator()(std::span<const std::int32_t> pictures, std::int64_t epoch, double scale) {
  check(scale > 0 && scale <= 1, "augment", "expected a scale above 0 and up to 1, got ", scale);
  const auto scaled = [&](int side) { return std::max(1, static_cast<int>(std::lround(scale * side))); };
  const Size size{scaled(size_.width), scaled(size_.height)};
  const auto count = static_cast<std::int64_t>(pictures.size());
  const std::int64_t values = std::int64_t{size.height} * size.width * 3;
  Tensor pixels({count, size.height, size.width, 3});
  float* const out = pixels.mutable_data<float>();
  for (const std::int32_t picture : pictures)
    check(picture >= 0 && static_cast<std::size_t>(picture) < files_.size(), "augment", "expected pictures 0 to ",
          files_.size(), ", got ", picture);
  std::vector<Image> fresh(pictures.size());
  std::vector<std::exception_ptr> errors(pictures.size());
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i), picture = static_cast<std::size_t>(pictures[at]);
    try {
      if (kept_[picture].pixels.empty()) fresh[at] = read(files_[picture]);
      write(out + i * values, size, fresh[at].pixels.empty() ? kept_[picture] : fresh[at],
            Variation::draw(how_, seed_, epoch, pictures[at]));
    } catch (...) {
      errors[at] = std::current_exception();
    }
  }
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (errors[i]) std::rethrow_exception(errors[i]);
    Image& place = kept_[static_cast<std::size_t>(pictures[i])];
    const auto bytes = std::ssize(fresh[i].pixels);
    if (bytes == 0 || bytes > memory_ || !place.pixels.empty()) continue;
    memory_ -= bytes;
    place = std::move(fresh[i]);
  }
  return pixels;
}

}  // namespace clip
