// Runs a model folder on an array for bench/compare/encoders.py: writes what it gives, then runs it as often as asked.
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "bench/compare/serve.hpp"
#include "clip/autograd.hpp"
#include "clip/io/npy.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/ops/cast.hpp"

namespace {

using namespace clip;

/// Token ids [B, L] without padding.
Tokens unpadded(const Tensor& ids, const Device& device) {
  const auto values = ids.to_vector<std::int32_t>();
  std::vector<std::vector<std::int32_t>> texts;
  for (auto at = values.begin(); at != values.end(); at += ids.shape(1)) texts.emplace_back(at, at + ids.shape(1));
  return Tokens::pack(texts, device);
}

void serve(const std::filesystem::path& output, const std::function<Tensor()>& run) {
  const Tensor y = run();
  write_npy(output, to(to(y, dtype::f32), Device::cpu()));
  bench::serve([&] { run(); }, y.device());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    check(argc == 5 || argc == 6, "encoder_time", "expected MODEL_DIR INPUT.npy OUTPUT.npy f32|bf16 [cuda]");
    const NoGrad guard;
    const Device device = argc == 6 ? Device::cuda() : Device::cpu();
    const Tensor input = read_npy(argv[2]);
    const dtype type = std::string(argv[4]) == "bf16" ? dtype::bf16 : dtype::f32;
    if (ClipEncoder::is_in(argv[1])) {
      const Clip model = Clip::load(argv[1], device, type);
      if (input.dtype() == dtype::i32) {  // texts up to their end tokens
        const Tokens tokens = model.text.cut(unpadded(input, device), device);
        serve(argv[3], [&] { return model.embed_texts(tokens); });
      } else {
        const Tensor images = to(input, device);
        serve(argv[3], [&] { return model.embed_images(images); });
      }
    } else if (input.dtype() == dtype::i32) {
      const DistilBert model = DistilBert::load(argv[1], device, type);
      const Tokens tokens = unpadded(input, device);
      serve(argv[3], [&] { return model.cls(tokens); });
    } else {
      ResNet model = ResNet::load(argv[1], device).folded(type);
      const Tensor images = to(input, device);
      serve(argv[3], [&] { return model(images); });
    }
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
}
