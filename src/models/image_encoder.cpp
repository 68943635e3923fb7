#include "clip/models/image_encoder.hpp"

#include <algorithm>
#include <utility>

#include "clip/ops/cast.hpp"
#include "src/io/folder.hpp"

namespace clip {

bool has_weights(const std::filesystem::path& folder) {
  const std::vector<std::filesystem::path> files = list_folder(folder);
  return std::any_of(files.begin(), files.end(), is_weights_file);
}

ImageEncoder ImageEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  ResNet model = ResNet::load(folder, device).folded(type);  // first: its config.json tells what kind of model this is
  return {.preprocess = Preprocessor::load(folder), .model = std::move(model), .device = device};
}

ImageEncoder ImageEncoder::load_to_train(const std::filesystem::path& folder, const Device& device, Random& random) {
  ResNet model = has_weights(folder) ? ResNet::load(folder, device) : ResNet(ResNetConfig::read(folder), random);
  for (const Member& member : members(model)) *member.tensor = to(*member.tensor, device);
  return {.preprocess = Preprocessor::load(folder), .model = std::move(model), .device = device};
}

Tensor ImageEncoder::operator()(const Tensor& images, Mode mode) {
  return to(model(to(images, device), mode), dtype::f32);
}

}  // namespace clip
