#pragma once
// CLIP as a guide of image generators: how well pictures fit a prompt, and in which direction they would fit better.
#include <cstdint>
#include <string>

#include "clip/models/clip_encoder.hpp"

namespace clip {

class ClipGuide {
 public:
  /// Part of a picture, in pixels; none: all of it.
  struct Part {
    std::int64_t x = 0, y = 0, width = 0, height = 0;
  };

  /// Throws as `ClipEncoder::embed_texts` does. Keeps a copy of the encoder, which shares its weights.
  ClipGuide(const ClipEncoder& encoder, const std::string& prompt);

  /// f32 [N]: the cosine of each picture with the prompt, for pictures f32 [N, H, W, 3] of any size with samples from 0
  /// to 1: resized, cropped and normalised as the model's folder says, but without its roundings to eight bits.
  /// Differentiable to the pictures. With a `part` only that is looked at. Throws on other shapes.
  Tensor score(const Tensor& pictures, const Part& part) const;
  Tensor score(const Tensor& pictures) const { return score(pictures, Part{}); }

  struct Gradient {
    Tensor score;     ///< f32 [N]
    Tensor pictures;  ///< of its sum with respect to the pictures: f32 [N, H, W, 3]
  };
  /// What a generator adds to its pictures, times a step of its own, between its steps.
  Gradient gradient(const Tensor& pictures) const;

 private:
  ClipEncoder encoder_;
  Tensor prompt_;  // [1, size]
};

}  // namespace clip
