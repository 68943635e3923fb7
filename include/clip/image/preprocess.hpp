#pragma once
#include <array>
#include <functional>
#include <optional>

#include "clip/core/tensor.hpp"
#include "clip/image/resize.hpp"

namespace clip {

/// Whose pipeline the pixels must equal. Pictures are read as Pillow reads them, then
/// - huggingface: converted to RGB, resized, cropped at floor((size - crop) / 2): its image processors of the Pillow
/// kind;
/// - torchvision: converted to RGB, resized, cropped at round((size - crop) / 2), halves to even: torchvision and timm;
/// - openai: resized, cropped as torchvision does, converted to RGB: CLIP as OpenAI and open_clip run it.
/// A picture smaller than the crop is padded with black.
enum class Pipeline { huggingface, torchvision, openai };

/// What is done to a picture before a model sees it.
struct Preprocessing {
  static constexpr int largest_side = 1 << 14;  ///< of what pictures are resized or cropped to

  Pipeline pipeline = Pipeline::torchvision;
  Filter filter = Filter::bilinear;
  int shorter_side = 0;  ///< resize the shorter side to this, the longer in proportion, cut to an integer; 0: do not
  Size size{};           ///< resize to this whatever the proportions; 0 x 0: do not
  Size crop{};           ///< then take this from the middle; 0 x 0: do not
  double rescale = 1. / 255;                         ///< what samples are multiplied with
  std::array<float, 3> mean{0, 0, 0}, std{1, 1, 1};  ///< of R, G and B, after rescaling
  /// What transparent pictures are put on, before anything else; without it alpha is dropped, as the references do.
  std::optional<std::array<std::uint8_t, 3>> background{};
};

/// Turns pictures into the input of a model.
class Preprocessor {
 public:
  /// Reports picture `index`, which could not be read, and why.
  using BadImage = std::function<void(std::size_t index, const std::string& why)>;

  /// As a model's folder says: `preprocessor_config.json` of Hugging Face's image processors (CLIP, ViT, DeiT, ConvNext
  /// and BiT), in which a key `pipeline` may name another `Pipeline`, and `background` be a colour, [R, G, B]; the same
  /// as `image_processor` of `processor_config.json`; or timm's `pretrained_cfg` in `config.json`. Throws, naming file
  /// and key, when there is neither, and on what it does not know.
  static Preprocessor load(const std::filesystem::path& folder);
  /// Throws unless all pictures come out in one size and the numbers make sense.
  explicit Preprocessor(const Preprocessing& settings, const ImageLimits& limits = {});

  const Preprocessing& settings() const { return settings_; }
  /// Of every picture that comes out.
  Size size() const;

  /// f32 [N, H, W, 3]: (sample * rescale - mean) / std, each step in f32, equal to NumPy's and torchvision's arithmetic
  /// bit for bit. Threaded. Throws for the first picture that cannot be read.
  Tensor operator()(std::span<const std::filesystem::path> files) const;
  /// The same without the pictures that cannot be read: they are reported in order, from the calling thread, and have
  /// no row.
  Tensor operator()(std::span<const std::filesystem::path> files, const BadImage& bad) const;
  /// One picture in memory: f32 [1, H, W, 3].
  Tensor operator()(const Image& image) const;

  /// How a picture of this size is resized, and what of the result is cropped: more than there is where that must be
  /// padded. Throws when the result would have too many pixels.
  struct Placement {
    Size resized;
    Window window;
  };
  Placement placement(Size picture) const;
  /// The picture resized and cropped, still eight bits, RGB.
  Image fit(const Image& image) const;

 private:
  void write(float* out, const Image& image) const;
  void write(float* out, const std::filesystem::path& file) const;

  Preprocessing settings_;
  ImageLimits limits_;
  std::vector<float> table_;  // [3][256], the value of each sample
};

}  // namespace clip
