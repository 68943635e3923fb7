// Trains an image encoder on pictures for bench/compare/encoder_training.py: FOLDER holds pictures in `Images`, their
// text features in text.npy, and the encoder in `model`. Prints the first loss; then, for each line on stdin, which
// holds a number of steps, the milliseconds that they took.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <numeric>

#include "clip/image/augment.hpp"
#include "clip/io/npy.hpp"
#include "examples/support/training.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

void serve(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder / "Images")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::int32_t> all(files.size());
  std::iota(all.begin(), all.end(), 0);
  Random random(1);
  ImageEncoder encoder = ImageEncoder::load_to_train(folder / "model", {}, random);
  requires_grad(encoder);
  const auto pictures = std::make_shared<AugmentedPictures>(files, encoder.preprocess.settings(), 1);
  Pairs pairs{.features = {
                  .text = read_npy(folder / "text.npy"), .image = {}, .picture = Tensor::from(all, {std::ssize(all)})}};
  pairs.training_pixels = [pictures](std::span<const std::int32_t> some, std::int64_t step, double) {
    return (*pictures)(some, step);
  };
  const TrainingOptions options{
      .loss = Loss::info_nce, .epochs = 1, .batch = 256, .image_lr = 1e-3, .ema = 0.999, .type = dtype::bf16};
  std::vector<std::int32_t> endless;  // an epoch that does not end
  for (int i = 0; i < 1000; ++i) endless.insert(endless.end(), all.begin(), all.end());
  Training training(pairs, {.image = std::move(encoder)}, endless, all, options, folder / "run", "{}");
  std::cout << training.gradients(std::span(all).first(256)) << std::endl;
  (*pictures)(all, 0);  // all decoded

  std::int64_t left = -1;  // none asked for yet
  auto start = std::chrono::steady_clock::now();
  training.run({.step = [&](std::int64_t) { --left; },
                .epoch = [](const EpochMetrics&) {},
                .improved = [](PairEncoder&, const EpochMetrics&) {},
                .stop =
                    [&] {
                      if (left > 0) return false;
                      const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
                      if (left == 0) std::cout << time.count() << std::endl;
                      const bool more = static_cast<bool>(std::cin >> left);
                      start = std::chrono::steady_clock::now();
                      return !more;
                    }});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    check(argc == 2, "encoder_training_time", "expected FOLDER");
    serve(argv[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
