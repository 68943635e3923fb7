// Runs the soft-target loss, or a step of training both heads, for bench/compare/losses.py: FOLDER holds text.npy and
// image.npy, and for a step heads.safetensors. Prints the loss, then runs it as often as asked.
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>

#include "bench/compare/serve.hpp"
#include "clip/autograd.hpp"
#include "clip/io/npy.hpp"
#include "clip/nn/projection_head.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/train/optimizer.hpp"

namespace {

using namespace clip;

struct Heads {
  ProjectionHead text, image;
  void visit(auto&& v) {
    v("text_projection", text);
    v("image_projection", image);
  }
};

void serve(const std::function<float()>& run) {
  std::cout << run() << std::endl;
  bench::serve([&] { run(); });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    check(argc == 3, "training_time", "expected FOLDER loss|step");
    const std::filesystem::path folder = argv[1];
    Tensor text = read_npy(folder / "text.npy"), image = read_npy(folder / "image.npy");
    std::cout.precision(8);
    if (std::string(argv[2]) == "loss") {
      text.requires_grad();
      image.requires_grad();
      serve([&] {
        text.set_grad({});
        image.set_grad({});
        const Tensor loss = soft_target_loss(text, image);
        backward(loss);
        return loss.item();
      });
    } else {
      Heads heads{{text.shape(1), 256, Init::none()}, {image.shape(1), 256, Init::none()}};
      load(heads, folder / "heads.safetensors");
      requires_grad(heads);
      AdamW optimizer(parameters(heads), {.lr = 1e-3, .weight_decay = 1e-3});
      Random random(1);
      serve([&] {
        const Tensor loss = soft_target_loss(heads.text(text, &random), heads.image(image, &random));
        backward(loss);
        optimizer.step();
        return loss.item();
      });
    }
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
}
