#include "examples/support/head_training.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "clip/core/random.hpp"
#include "examples/support/metrics.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

/// Forty captions of twenty pictures.
Features small_features() {
  Random random(1);
  std::vector<std::int32_t> picture(40);
  for (std::size_t i = 0; i < picture.size(); ++i) picture[i] = static_cast<std::int32_t>(i / 2);
  return {.text = randn({40, 12}, random), .image = randn({20, 10}, random), .picture = Tensor::from(picture, {40})};
}

std::vector<std::int32_t> range(std::int32_t begin, std::int32_t end) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(end - begin));
  std::iota(all.begin(), all.end(), begin);
  return all;
}

struct Result {
  std::vector<float> weights;  // of the heads, as the last improvement left them
  std::string metrics;         // without what depends on the clock
};

/// Trains in `folder` until done, stopped and begun anew after each `stretch` steps.
Result train(const Features& features, const TrainingOptions& options, const TemporaryFolder& folder, int stretch) {
  Result result;
  for (bool done = false, first = true; !done; first = false) {
    HeadTraining training(features, range(0, 30), range(30, 40), options, folder.path(), R"({"loss": "soft"})");
    REQUIRE(training.resume([](const std::string& what) { FAIL(what); }) == !first);
    int steps = 0;
    try {
      training.run({.step = [&](std::int64_t) { ++steps; },
                    .epoch = [](const EpochMetrics&) {},
                    .improved =
                        [&](DualHeads& heads, const EpochMetrics&) {
                          result.weights.clear();
                          for (const Tensor& t : parameters(heads))
                            for (const float w : t.to_vector()) result.weights.push_back(w);
                        },
                    .stop = [&] { return steps == stretch; }});
      done = true;
    } catch (const Error& e) {
      REQUIRE(std::string(e.what()).find("interrupted") != std::string::npos);
    }
    result.metrics.clear();
    for (EpochMetrics m : training.metrics()) {
      m.seconds = m.images_per_second = 0;
      result.metrics += to_json(m).dump() + '\n';
    }
  }
  return result;
}

TEST_CASE("a run that is stopped again and again ends as one that is not", "[training]") {
  const Features features = small_features();
  for (const Loss loss : {Loss::soft, Loss::info_nce, Loss::siglip}) {
    const TrainingOptions options{
        .loss = loss, .epochs = 9, .batch = 8, .lr = 0.05, .dropout = 0.3f, .size = 6, .seed = 5};
    const TemporaryFolder whole, parts;
    const Result expected = train(features, options, whole, -1), result = train(features, options, parts, 3);
    CHECK(result.weights == expected.weights);
    CHECK(result.metrics == expected.metrics);
    CHECK(std::count(expected.metrics.begin(), expected.metrics.end(), '\n') == 9);
    CHECK(!expected.weights.empty());
  }
}

TEST_CASE("training lowers the loss and finds what it trained on", "[training]") {
  const Features features = small_features();
  const TemporaryFolder folder;
  HeadTraining training(features, range(0, 40), range(0, 40), {.loss = Loss::info_nce, .epochs = 60, .batch = 16},
                        folder.path(), "{}");
  training.run({.step = [](std::int64_t) {},
                .epoch = [](const EpochMetrics&) {},
                .improved = [](DualHeads&, const EpochMetrics&) {},
                .stop = [] { return false; }});
  const auto& metrics = training.metrics();
  CHECK(metrics.back().train_loss < 0.5 * metrics.front().train_loss);
  CHECK(metrics.back().val.text_to_image.r1 > 0.9);
}

TEST_CASE("a run is not resumed with another configuration", "[training]") {
  const Features features = small_features();
  const TemporaryFolder folder;
  const auto make = [&](const char* configuration) {
    return HeadTraining(features, range(0, 30), range(30, 40), {.epochs = 1, .batch = 8}, folder.path(), configuration);
  };
  make(R"({"lr": 1, "seed": 2})")
      .run({.step = [](std::int64_t) {},
            .epoch = [](const EpochMetrics&) {},
            .improved = [](DualHeads&, const EpochMetrics&) {},
            .stop = [] { return false; }});
  HeadTraining other = make(R"({"lr": 3, "seed": 2})");
  CHECK(throws_with([&] { other.resume([](const std::string&) {}); }, "was started with another lr: 1, not 3"));
}

TEST_CASE("a loss that is not finite stops the run, and says where", "[training]") {
  Features features = small_features();
  features.text.mutable_data<float>()[0] = std::numeric_limits<float>::infinity();
  const TemporaryFolder folder;
  HeadTraining training(features, range(0, 30), range(30, 40), {.epochs = 1, .batch = 30}, folder.path(), "{}");
  const auto run = [&] {
    training.run({.step = [](std::int64_t) {},
                  .epoch = [](const EpochMetrics&) {},
                  .improved = [](DualHeads&, const EpochMetrics&) {},
                  .stop = [] { return false; }});
  };
  CHECK(throws_with(run, "the loss of step 0 is not finite"));
  CHECK(std::filesystem::exists(folder / "not-finite-step-0.safetensors"));
}

}  // namespace
