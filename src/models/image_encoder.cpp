#include "clip/models/image_encoder.hpp"

#include <utility>

#include "clip/ops/cast.hpp"

namespace clip {

ImageEncoder ImageEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  ResNet model = ResNet::load(folder, device).folded(type);  // first: its config.json tells what kind of model this is
  return {.preprocess = Preprocessor::load(folder), .model = std::move(model), .device = device};
}

Tensor ImageEncoder::operator()(const Tensor& images) { return to(model(to(images, device)), dtype::f32); }

}  // namespace clip
