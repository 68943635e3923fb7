#include "clip/image/preprocess.hpp"

#include <cmath>
#include <cstring>
#include <exception>

#include "clip/io/file.hpp"
#include "kernels/resize.hpp"

namespace clip {
namespace {

constexpr int largest_side = Preprocessing::largest_side;

bool sensible(Size s) { return s.width > 0 && s.height > 0 && s.width <= largest_side && s.height <= largest_side; }

/// Where a crop of `length` begins in `size`: negative where it must be padded.
int crop_offset(int size, int length, Pipeline pipeline) {
  const int margin = size - length;
  if (margin < 0) return pipeline == Pipeline::huggingface ? -((1 - margin) / 2) : -(-margin / 2);
  if (pipeline == Pipeline::huggingface) return margin / 2;
  return static_cast<int>(std::nearbyint(margin / 2.0));  // halves to even
}

}  // namespace

Preprocessor::Preprocessor(const Preprocessing& settings, const ImageLimits& limits)
    : settings_(settings), limits_(limits), table_(3 * 256) {
  const Preprocessing& s = settings_;
  check(s.shorter_side >= 0 && s.shorter_side <= largest_side, "preprocess", "expected a shorter side of 0 to ",
        largest_side, ", got ", s.shorter_side);
  for (const Size size : {s.size, s.crop})
    check(size == Size{} || sensible(size), "preprocess", "expected sides of 1 to ", largest_side, ", got ", size.width,
          " x ", size.height);
  check(s.shorter_side == 0 || s.size == Size{}, "preprocess",
        "expected a shorter side or a size to resize to, got both");
  check(s.size != Size{} || s.crop != Size{}, "preprocess",
        "expected a size or a crop, got neither: pictures would come out in different sizes");
  for (std::size_t c = 0; c < 3; ++c) {
    check(std::isfinite(s.mean[c]) && std::isfinite(s.std[c]) && s.std[c] != 0 && std::isfinite(s.rescale),
          "preprocess", "expected a finite mean and rescale factor and a finite std that is not 0, got mean ",
          s.mean[c], ", std ", s.std[c], ", rescale ", s.rescale);
    for (std::size_t v = 0; v < 256; ++v) {
      const auto rescaled = static_cast<float>(static_cast<double>(v) * s.rescale);
      table_[256 * c + v] = (rescaled - s.mean[c]) / s.std[c];
    }
  }
}

Size Preprocessor::size() const { return settings_.crop == Size{} ? settings_.size : settings_.crop; }

Preprocessor::Placement Preprocessor::placement(Size picture) const {
  const Preprocessing& s = settings_;
  Size size = s.size == Size{} ? picture : s.size;
  if (s.shorter_side != 0) {
    const bool upright = picture.width <= picture.height;
    const int shorter = upright ? picture.width : picture.height, longer = upright ? picture.height : picture.width;
    check(shorter > 0, "preprocess", "expected a picture with pixels, got ", picture.width, " x ", picture.height);
    // as Python's int(side * longer / shorter): one rounding, in double
    const double scaled = static_cast<double>(std::int64_t{s.shorter_side} * longer) / shorter;
    check(scaled * s.shorter_side <= static_cast<double>(limits_.pixels), "preprocess", "a picture of ", picture.width,
          " x ", picture.height, " would have more than ", limits_.pixels, " pixels when its shorter side is ",
          s.shorter_side);
    const int scaled_side = static_cast<int>(scaled);
    size = upright ? Size{s.shorter_side, scaled_side} : Size{scaled_side, s.shorter_side};
  }
  if (s.crop == Size{}) return {size, {0, 0, size.width, size.height}};
  return {size,
          {crop_offset(size.width, s.crop.width, s.pipeline), crop_offset(size.height, s.crop.height, s.pipeline),
           s.crop.width, s.crop.height}};
}

Image Preprocessor::fit(const Image& image) const {
  const Preprocessing& s = settings_;
  if (s.background && image.colors == Colors::rgba) return fit(to_rgb(image, *s.background));
  if (s.pipeline != Pipeline::openai && image.colors != Colors::rgb) {
    Image rgb = to_rgb(image);
    return fit(rgb);
  }
  const auto [size, window] = placement({image.width, image.height});
  // indexed pictures were resized by `nearest` only where Pillow still had their palette
  const bool plain = image.indexed && s.pipeline != Pipeline::openai;
  if (!plain) return to_rgb(resize(image, size, s.filter, window, limits_.pixels));
  Image rgb = image;
  rgb.indexed = false;
  return resize(rgb, size, s.filter, window, limits_.pixels);
}

void Preprocessor::write(float* out, const Image& image) const {
  const Image fitted = fit(image);
  kernels::cpu::look_up_rgb(out, fitted.pixels.data(), table_.data(), std::int64_t{fitted.width} * fitted.height);
}

void Preprocessor::write(float* out, const std::filesystem::path& file) const {
  const Image image = read_image(file, limits_);
  try {
    write(out, image);
  } catch (const Error& error) {
    fail("image", quoted(file), ": ", error.what());
  }
}

Tensor Preprocessor::operator()(const Image& image) const {
  Tensor pixels({1, size().height, size().width, 3});
  write(pixels.mutable_data<float>(), image);
  return pixels;
}

Tensor Preprocessor::operator()(std::span<const std::filesystem::path> files) const {
  return (*this)(files, [](std::size_t, const std::string& why) { throw Error(why); });
}

Tensor Preprocessor::operator()(std::span<const std::filesystem::path> files, const BadImage& bad) const {
  const auto count = static_cast<std::int64_t>(files.size());
  const std::int64_t values = std::int64_t{size().height} * size().width * 3;
  Tensor pixels({count, size().height, size().width, 3});
  float* const out = pixels.mutable_data<float>();
  std::vector<std::string> errors(files.size());
  std::exception_ptr fatal;  // what has nothing to do with the picture, such as a lack of memory
  // pictures differ in cost, so each thread takes the next one when it is done
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    try {
      write(out + i * values, files[at]);
    } catch (const Error& error) {
      errors[at] = error.what();
    } catch (...) {
#pragma omp critical
      fatal = std::current_exception();
    }
  }
  if (fatal) std::rethrow_exception(fatal);

  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string& error = errors[static_cast<std::size_t>(i)];
    if (!error.empty()) {
      bad(static_cast<std::size_t>(i), error);
      continue;
    }
    if (kept != i) std::memcpy(out + kept * values, out + i * values, static_cast<std::size_t>(values) * sizeof(float));
    ++kept;
  }
  return kept == count ? pixels : pixels.view(0, {kept, size().height, size().width, 3}).clone();
}

}  // namespace clip
