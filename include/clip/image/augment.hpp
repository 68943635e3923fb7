#pragma once
// Pictures varied anew in each epoch, so that an encoder learns what they show rather than their pixels.
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/image/preprocess.hpp"

namespace clip {

/// How far a picture may be varied.
struct Augmentation {
  double min_area = 0.25;                                          ///< of the picture, that a crop keeps at least
  double max_stretch = 4. / 3;                                     ///< of the crop's proportions, either way
  double turn = 15;                                                ///< degrees, either way, that a crop is turned by
  double flip = 0.5;                                               ///< probability of being mirrored, left to right
  float brightness = 0.35F, contrast = 0.35F, saturation = 0.35F;  ///< factors are uniform in 1 - this to 1 + this
  double erase = 0.7;  ///< probability that a rectangle, each side 0.2 to 0.5 of the picture's, is painted over
  double white = 0.4;  ///< probability that a transparent picture is on white, as it often is in use, not on any colour
};

/// One way to vary a picture. Brightness b, contrast c and saturation s make of a sample x, 0 to 255, whose pixel has
/// the luma g: b (c (s x + (1 - s) g - 128) + 128), cut to 0 to 255.
struct Variation {
  double area, stretch;  ///< of the crop; a stretch above 1 takes more of the width
  double left, top;      ///< where it lies in what room there is, from 0 to 1
  bool flip;
  double turn;  ///< of the crop, clockwise, in radians
  float brightness, contrast, saturation;
  std::array<std::uint8_t, 3> background;  ///< what a transparent picture is put on
  struct {
    double left = 0, top = 0, width = 0, height = 0;  ///< of what is given, from 0 to 1
    std::array<std::uint8_t, 3> color = {};
  } erased;  ///< what is painted over

  /// The one that seed, epoch and picture decide, whatever else is drawn, and on any number of threads.
  static Variation draw(const Augmentation& how, std::uint64_t seed, std::int64_t epoch, std::int64_t picture);
};

/// The pictures of a data set as a model's input in training.
class AugmentedPictures {
 public:
  /// Pictures come out in the size, and normalised, as `settings` says. Where those squash a picture into their size,
  /// whatever its proportions, crops are squashed too; otherwise they have the size's proportions, but for the stretch.
  /// Pictures read once are kept in `memory` bytes, as long as there is room, shrunk until their shorter side has 1.5
  /// times the model's. Throws as `Preprocessor` does, and on an augmentation that is out of range.
  AugmentedPictures(std::vector<std::filesystem::path> files, const Preprocessing& settings, std::uint64_t seed,
                    const Augmentation& how = {}, std::int64_t memory = std::int64_t{1} << 30,
                    const ImageLimits& limits = {});

  /// f32 [N, H, W, 3] of these of the files, in an epoch; H and W are the model's times `scale`. Threaded. Throws on
  /// the first picture that cannot be read, and where `scale` is not in (0, 1].
  Tensor operator()(std::span<const std::int32_t> pictures, std::int64_t epoch, double scale = 1);

  /// One picture, varied: f32 [1, H, W, 3].
  Tensor operator()(const Image& image, const Variation& variation) const;

 private:
  Image read(const std::filesystem::path& file) const;
  void write(float* out, const Size& size, const Image& image, const Variation& variation) const;

  std::vector<std::filesystem::path> files_;
  Preprocessing settings_;
  Size size_;
  std::uint64_t seed_;
  Augmentation how_;
  std::int64_t memory_;  // left
  ImageLimits limits_;
  std::vector<Image> kept_;  // empty where not read yet, or no room
};

}  // namespace clip
