// Follows CLIP's gradient in pixel space toward a prompt.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <string>

#include "clip/autograd.hpp"
#include "clip/image/image.hpp"
#include "clip/image/write_png.hpp"
#include "clip/models/clip_guide.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/train/optimizer.hpp"
#include "examples/support/program.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

struct Options {
  fs::path model, output, init;
  std::string prompt;
  std::int64_t steps = 100, size = 256;
};

/// What `sigmoid` makes the picture of: [1, H, W, 3].
Tensor start(const Options& options, Random& random) {
  if (options.init.empty()) return scale(randn({1, options.size, options.size, 3}, random), 0.3f);
  const Image image = to_rgb(read_image(options.init));
  std::vector<float> values;
  for (const std::uint8_t sample : image.pixels) {
    const float y = std::clamp(static_cast<float>(sample) / 255, 0.01f, 0.99f);
    values.push_back(std::log(y / (1 - y)));
  }
  return Tensor::from(values, {1, image.height, image.width, 3});
}

Image picture_of(const Tensor& pixels) {
  Image image;
  image.width = static_cast<int>(pixels.shape(2));
  image.height = static_cast<int>(pixels.shape(1));
  for (const float value : pixels.to_vector())
    image.pixels.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0f, 1.0f) * 255)));
  return image;
}

/// A part of at least two thirds of both sides: what fits the prompt in many parts is no pattern of single pixels.
ClipGuide::Part random_part(std::int64_t width, std::int64_t height, Random& random) {
  const std::vector<float> u = rand({3}, random).to_vector();
  const double share = 2. / 3 + static_cast<double>(u[0]) / 3;
  const auto of = [](double x) { return static_cast<std::int64_t>(x); };
  ClipGuide::Part part{0, 0, std::max<std::int64_t>(of(share * static_cast<double>(width)), 1),
                       std::max<std::int64_t>(of(share * static_cast<double>(height)), 1)};
  part.x = of(static_cast<double>(u[1]) * static_cast<double>(width - part.width));
  part.y = of(static_cast<double>(u[2]) * static_cast<double>(height - part.height));
  return part;
}

void guide(const Program& program, const Options& options) {
  Random random(program.seed());
  const ClipGuide guide(ClipEncoder::load(options.model, program.device(), program.type()), options.prompt);
  Tensor latent = start(options, random).requires_grad();
  program.announce(options.model.string() + ", " + std::to_string(options.steps) + " steps");
  const auto score = [&] {
    const NoGrad guard;
    return guide.score(sigmoid(latent)).item();
  };
  const float before = score();
  AdamW optimizer({latent}, {.lr = 0.05, .weight_decay = 0});
  Progress progress("steps", options.steps, program.quiet);
  for (std::int64_t i = 0; i < options.steps; ++i) {
    stop_if_interrupted();
    backward(scale(sum(guide.score(sigmoid(latent), random_part(latent.shape(2), latent.shape(1), random))), -1));
    optimizer.step();
    progress.advance(1);
  }
  write_png(options.output, picture_of(sigmoid(latent.detach())));
  std::cout << "cosine with the prompt: " << before << " before, " << score() << " after " << options.steps
            << " steps\n";
}

}  // namespace

int main(int argc, char** argv) {
  Program program("guide", "Follows CLIP's gradient in pixel space toward a prompt.",
                  "guide --model models/clip --prompt \"a red rose\" --output rose.png");
  Options options;
  program.option("--model", &options.model, "folder of a CLIP model").required();
  program.option("--prompt", &options.prompt, "what the picture shall show").required();
  program.option("--output", &options.output, "PNG file to write").required();
  Option init = program.option("--init", &options.init, "picture to start from (default: noise)");
  program.option("--steps", &options.steps, "steps (default 100)").between(0, 1000000);
  program.option("--size", &options.size, "sides of a picture from noise (default 256)")
      .between(16, 4096)
      .excludes(init);
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    catch_interrupts();
    guide(program, options);
  });
}
