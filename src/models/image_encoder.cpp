#include "clip/models/image_encoder.hpp"

#include "clip/ops/cast.hpp"

namespace clip {

ImageEncoder ImageEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  return {
      .preprocess = Preprocessor::load(folder), .model = ResNet::load(folder, device).folded(type), .device = device};
}

Tensor ImageEncoder::operator()(const Tensor& images) { return to(model(to(images, device)), dtype::f32); }

}  // namespace clip
