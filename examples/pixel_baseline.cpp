// How well captions and pictures find each other by the pictures' raw pixels, 16 x 16 of them, instead of what an image
// encoder makes of them: what training an encoder must beat.
#include <filesystem>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/view.hpp"
#include "examples/support/encode.hpp"
#include "examples/support/metrics.hpp"
#include "examples/support/program.hpp"
#include "examples/support/training.hpp"
#include "src/io/folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

constexpr const char* preprocessing = R"({"image_processor_type": "ViTImageProcessor", "resample": 2,
  "size": {"height": 16, "width": 16}, "background": [255, 255, 255]})";

struct Options {
  fs::path data, run;
  EncodeOptions encode;
  TrainingOptions training{.loss = Loss::info_nce, .epochs = 15, .batch = 256};
};

void measure(const Program& program, Options& options) {
  Captions data = read_flickr8k(options.data, {.seed = program.seed()});
  program.announce(data.summary());
  const fs::path work = options.run / "pixels";
  options.encode.image_model = work;  // a model without a network
  if (options.encode.cache.empty()) options.encode.cache = options.run / "cache";
  options.encode.pictures = false;
  options.training.seed = program.seed();
  fs::remove_all(work);
  make_folder(work);
  write_file(work / "preprocessor_config.json", preprocessing);

  Pairs pairs = encode(program, data, options.encode);
  std::vector<std::int32_t> all(data.pictures.size());
  std::iota(all.begin(), all.end(), 0);
  pairs.features.image = reshape(pairs.pixels(all), {std::ssize(all), 16 * 16 * 3});
  Training training(pairs, {}, captions_of(data, Split::train), captions_of(data, Split::val), options.training, work,
                    "{}");
  {
    Progress progress("pairs", training.pairs_left(), program.quiet);
    training.run({.step = [&](std::int64_t count) { progress.advance(count); },
                  .epoch = [](const EpochMetrics&) {},
                  .improved = [](PairEncoder&, const EpochMetrics&) {},
                  .stop = [] { return false; }});
  }
  const NoGrad guard;
  PairEncoder model = training.model().in_use(dtype::f32);
  const Embedded test = embed(model, pairs, captions_of(data, Split::test));
  std::cout << table(retrieval_recall(test.texts, test.images, test.picture_of), "test");
}

}  // namespace

int main(int argc, char** argv) {
  Program program("pixel_baseline",
                  "Trains projection heads on 16 x 16 raw pixels and a frozen text encoder's features, and prints the "
                  "recall of the test split.",
                  "pixel_baseline --data data/clipart --text-model models/all-MiniLM-L6-v2 --output runs/pixels");
  Options options;
  program.option("--data", &options.data, "folder with the pictures and their captions").required();
  program.option("--text-model", &options.encode.text_model, "folder of a DistilBERT, BERT or sentence encoder")
      .required();
  program.option("--output", &options.run, "folder to work in").required();
  program.option("--epochs", &options.training.epochs, "default 15").between(1, 1'000'000);
  program.option("--cache", &options.encode.cache, "folder for the text encoder's features (default: OUTPUT/cache)");
  program.add_compute_options();
  return program.run(argc, argv, [&] { measure(program, options); });
}
