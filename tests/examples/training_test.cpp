#include "examples/support/training.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clip/core/random.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "examples/support/metrics.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

/// Forty captions of twenty pictures.
Pairs small_pairs(const Device& device = {}) {
  Random random(1);
  std::vector<std::int32_t> picture(40);
  for (std::size_t i = 0; i < picture.size(); ++i) picture[i] = static_cast<std::int32_t>(i / 2);
  return {.features = {.text = randn({40, 12}, random, dtype::f32, device),
                       .image = randn({20, 10}, random, dtype::f32, device),
                       .picture = Tensor::from(picture, {40})}};
}

float largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  float largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

std::vector<std::int32_t> range(std::int32_t begin, std::int32_t end) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(end - begin));
  std::iota(all.begin(), all.end(), begin);
  return all;
}

/// The same pairs with encoders that run on each batch: words, and pictures of noise; or a CLIP.
struct EncodedPairs {
  TemporaryFolder folder;
  Pairs pairs;
  bool clip;
  Device device;

  EncodedPairs(bool text, bool image, const std::string& dropout = "0.1", bool with_clip = false, const Device& on = {})
      : pairs(small_pairs(on)), clip(with_clip), device(on) {
    if (clip) {
      write_small_clip(folder / "clip");
      Random random(2);
      pairs.features.text = randn({40, 16}, random, dtype::f32, device);
      pairs.features.image = randn({20, 16}, random, dtype::f32, device);
    }
    const std::vector<std::string> words = {"red", "blue", "black", "square", "circle", "ring", "cross"};
    write_small_bert(folder / "bert", words);
    write_small_resnet(folder / "resnet");
    std::string config = read_file(folder / "bert/config.json");
    config.insert(1, R"("attention_probs_dropout_prob": )" + dropout + R"(, "hidden_dropout_prob": )" + dropout + ", ");
    write_file(folder / "bert/config.json", config);
    for (std::size_t i = 0; i < 40; ++i)
      pairs.captions.push_back(words[i % 7] + " " + words[i / 2 % 7] + " " + words[i % 3] +
                               (i % 5 == 0 ? " ring" : ""));
    if (text) pairs.features.text = {};
    if (!image) return;
    pairs.features.image = {};
    const auto noise = [](std::span<const std::int32_t> pictures, std::int64_t side) {
      std::vector<Tensor> pixels;
      for (const std::int32_t picture : pictures) {
        Random random(static_cast<std::uint64_t>(picture));
        pixels.push_back(randn({1, side, side, 3}, random));
      }
      return concat(pixels);
    };
    pairs.pixels = [=](std::span<const std::int32_t> pictures) { return noise(pictures, 32); };
    pairs.training_pixels = [=](std::span<const std::int32_t> pictures, std::int64_t step, double size) {
      return scale(noise(pictures, static_cast<std::int64_t>(32 * size)), 1, static_cast<float>(step % 3));
    };
  }
  Training training(TrainingOptions options, const std::filesystem::path& run) const {
    options.device = device;
    PairEncoder encoders;
    if (clip) {
      encoders.clip = ClipEncoder::load(folder / "clip", device);
      for (const Member& member : members(encoders.clip->model)) {
        const std::string_view side = clip_side(member.name);
        const bool frozen =
            (side == "text" && pairs.features.text.defined()) || (side == "image" && pairs.features.image.defined());
        member.tensor->requires_grad(!frozen);
      }
      return Training(pairs, encoders, range(0, 30), range(30, 40), options, run, "{}");
    }
    Random random(9);
    if (!pairs.features.text.defined())
      requires_grad(encoders.text.emplace(TextEncoder::load(folder / "bert", device)));
    if (!pairs.features.image.defined())
      requires_grad(encoders.image.emplace(ImageEncoder::load_to_train(folder / "resnet", device, random)));
    return Training(pairs, encoders, range(0, 30), range(30, 40), options, run, "{}");
  }
};

struct Result {
  std::vector<float> weights;  // as the last improvement left them
  std::string metrics;         // without what depends on the clock
  std::vector<double> losses;  // in training and validation
  int graphs = 0;              // of steps
};

/// Trains in `folder` until done, stopped and begun anew after each `stretch` steps.
template <class MakeTraining>
Result train(const MakeTraining& make, const TemporaryFolder& folder, int stretch) {
  Result result;
  for (bool done = false, first = true; !done; first = false) {
    Training training = make(folder.path());
    REQUIRE(training.resume([](const std::string& what) { FAIL(what); }) == !first);
    int steps = 0;
    try {
      training.run({.step = [&](std::int64_t) { ++steps; },
                    .epoch = [](const EpochMetrics&) {},
                    .improved =
                        [&](PairEncoder& model, const EpochMetrics&) {
                          result.weights.clear();
                          for (const Member& member : members(model))
                            for (const float w : member.tensor->to_vector()) result.weights.push_back(w);
                        },
                    .stop = [&] { return steps == stretch; }});
      done = true;
    } catch (const Error& e) {
      REQUIRE(std::string(e.what()).find("interrupted") != std::string::npos);
    }
    result.graphs = training.graphs().size();
    result.metrics.clear();
    result.losses.clear();
    for (EpochMetrics m : training.metrics()) {
      result.losses.insert(result.losses.end(), {m.train_loss, m.val_loss});
      m.seconds = m.images_per_second = 0;
      result.metrics += to_json(m).dump() + '\n';
    }
  }
  return result;
}

void check_close(const std::vector<double>& losses, const std::vector<double>& expected, double tolerance) {
  REQUIRE(losses.size() == expected.size());
  for (std::size_t i = 0; i < losses.size(); ++i) CHECK(losses[i] == Approx(expected[i]).epsilon(tolerance));
}

TEST_CASE("every epoch's model is kept where asked, otherwise the best so far", "[training]") {
  const Pairs pairs = small_pairs();
  for (const bool keep_last : {false, true}) {
    const TemporaryFolder folder;
    const TrainingOptions options{
        .loss = Loss::info_nce, .epochs = 9, .batch = 8, .lr = 0.5, .keep_last = keep_last, .size = 6};
    Training training(pairs, {}, range(0, 30), range(30, 40), options, folder.path(), "{}");
    int improved = 0;
    training.run({.step = [](std::int64_t) {},
                  .epoch = [](const EpochMetrics&) {},
                  .improved = [&](PairEncoder&, const EpochMetrics&) { ++improved; },
                  .stop = [] { return false; }});
    CHECK((improved == 9) == keep_last);  // at this rate the validation loss rises now and then
  }
}

TEST_CASE("a run that is stopped again and again ends as one that is not", "[training]") {
  std::map<Loss, std::vector<double>> on_cpu;
  for (const Device& device : devices())
    for (const Loss loss : {Loss::soft, Loss::soft_detached, Loss::info_nce, Loss::siglip}) {
      INFO(device << ", loss " << static_cast<int>(loss));
      const Pairs pairs = small_pairs(device);
      const std::int64_t epochs = device.is_cpu() ? 9 : 3;
      const TrainingOptions options{.loss = loss,
                                    .epochs = epochs,
                                    .batch = 8,
                                    .lr = 0.05,
                                    .dropout = 0.3f,
                                    .size = 6,
                                    .device = device,
                                    .seed = 5};
      const TemporaryFolder whole, parts;
      const auto make = [&](const std::filesystem::path& run) {
        return Training(pairs, {}, range(0, 30), range(30, 40), options, run, R"({"loss": "soft"})");
      };
      // a training begun anew makes its first step eagerly: on a GPU the parts are that, and the whole replays a graph
      const Result expected = train(make, whole, -1), result = train(make, parts, device.is_cpu() ? 3 : 1);
      CHECK(result.weights == expected.weights);
      CHECK(result.metrics == expected.metrics);
      CHECK(expected.graphs == (device.is_cpu() ? 0 : 2));  // an epoch's last batch has another shape
      CHECK(result.graphs == 0);
      CHECK(std::count(expected.metrics.begin(), expected.metrics.end(), '\n') == epochs);
      CHECK(!expected.weights.empty());
      if (device.is_cpu())
        on_cpu[loss].assign(expected.losses.begin(), expected.losses.begin() + 6);
      else
        check_close(expected.losses, on_cpu[loss], 1e-3);
    }
}

TEST_CASE("a run that trains encoders goes on as well, with all that it has to remember", "[training]") {
  const TrainingOptions plain{.loss = Loss::info_nce, .epochs = 4, .batch = 8, .text_lr = 1e-3, .size = 6};
  TrainingOptions rich = plain;
  rich.schedule = Schedule::cosine;
  rich.warmup = 3;
  rich.clip_norm = 1;
  rich.ema = 0.9;
  rich.micro_batch = 3;
  rich.decay_norms = false;
  TrainingOptions bf16 = plain;
  bf16.type = dtype::bf16;
  TrainingOptions rich_bf16 = rich;
  rich_bf16.type = dtype::bf16;
  struct Case {
    bool text, image;
    TrainingOptions options;
    bool clip = false;
  };
  for (const Case& c : {Case{true, true, plain},
                        {false, true, rich},
                        {true, false, rich},
                        {true, true, bf16},
                        {true, true, rich_bf16, true},
                        {false, true, rich, true}}) {
    INFO("text " << c.text << ", image " << c.image << ", ema " << c.options.ema << ", " << c.options.type);
    const EncodedPairs encoded(c.text, c.image, "0.1", c.clip);
    const TemporaryFolder whole, parts;
    const auto make = [&](const std::filesystem::path& run) { return encoded.training(c.options, run); };
    const Result expected = train(make, whole, -1), result = train(make, parts, 2);
    CHECK(result.weights == expected.weights);
    CHECK(result.metrics == expected.metrics);
    CHECK(!expected.weights.empty());
  }
}

TEST_CASE("encoders are trained on a GPU as on the CPU, and go on bit by bit", "[training][gpu]") {
  const TrainingOptions rich{.loss = Loss::info_nce,
                             .epochs = 1,
                             .batch = 10,
                             .text_lr = 1e-3,
                             .schedule = Schedule::cosine,
                             .clip_norm = 1,
                             .ema = 0.9,
                             .dropout = 0,
                             .size = 6};
  TrainingOptions parts = rich, bf16 = rich, parts_bf16 = rich, longer = rich;
  parts.micro_batch = parts_bf16.micro_batch = 4;
  bf16.type = parts_bf16.type = dtype::bf16;
  parts.dropout = longer.dropout = 0.3f;
  longer.epochs = 2;
  longer.start_scale = 0.5;
  struct Case {
    bool text, image;
    TrainingOptions options;
    const char* dropout;
    int graphs;
    bool clip = false;
  };
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    for (const Case& c : {Case{true, true, parts, "0.1", 0},
                          {true, true, bf16, "0", 1},
                          {true, true, longer, "0.1", 1},  // small pictures, whose graph is dropped for large ones
                          {true, false, longer, "0.1", 1},
                          {true, true, rich, "0", 1, true},
                          {true, true, parts_bf16, "0", 0, true}}) {
      INFO(device << ", text " << c.text << ", image " << c.image << ", " << c.options.type << ", micro-batches "
                  << c.options.micro_batch << ", epochs " << c.options.epochs << ", CLIP " << c.clip);
      const EncodedPairs here(c.text, c.image, c.dropout, c.clip), there(c.text, c.image, c.dropout, c.clip, device);
      const TemporaryFolder cpu, whole, stopped;
      const auto on = [&](const EncodedPairs& encoded) {
        return [&](const std::filesystem::path& run) { return encoded.training(c.options, run); };
      };
      const Result result = train(on(there), whole, -1);
      CHECK(result.graphs == c.graphs);
      CHECK(!result.weights.empty());
      // with dropout, rounded tokens draw other numbers than the CPU's
      if (c.options.epochs == 1)
        check_close(result.losses, train(on(here), cpu, -1).losses, c.options.type == dtype::bf16 ? 0.03 : 1e-3);
      const Result eager = train(on(there), stopped, 1);  // begun anew, each step is the first of its shape
      CHECK(eager.graphs == 0);
      CHECK(eager.weights == result.weights);
      CHECK(eager.metrics == result.metrics);
    }
  }
}

/// The weights after an epoch of one step, and the rates then.
std::vector<float> after_one_step(TrainingOptions options, double& lr, bool step = true) {
  const EncodedPairs encoded(false, true);
  const TemporaryFolder run;
  options.batch = 30;
  options.size = 6;
  Training training = encoded.training(options, run.path());
  if (step) {
    CHECK_THROWS_AS(training.run({.step = [](std::int64_t) {},
                                  .epoch = [](const EpochMetrics&) {},
                                  .improved = [](PairEncoder&, const EpochMetrics&) {},
                                  .stop = [&] { return !training.metrics().empty(); }}),
                    Error);
    lr = training.metrics().front().lr;
  }
  PairEncoder model = training.model();
  std::vector<float> all;
  for (const Tensor& parameter : parameters(model))
    for (const float value : parameter.to_vector()) all.push_back(value);
  return all;
}

TEST_CASE("the average of weights, warm-up and rates are what they should be", "[training]") {
  double lr = 0, half = 0;
  const std::vector<float> before = after_one_step({}, lr, false), after = after_one_step({}, lr);
  const std::vector<float> averaged = after_one_step({.ema = 0.999}, lr);
  const std::vector<float> slow = after_one_step({.schedule = Schedule::cosine, .warmup = 2}, half);
  CHECK(lr == 1e-3);
  CHECK(half == Approx(0.5e-3));
  double error = 0, slow_error = 0, moved = 0;
  const std::size_t trained = before.size();
  REQUIRE(after.size() == trained);
  for (std::size_t i = 0; i < trained; ++i) {
    const double change = after[i] - before[i];
    moved = std::max(moved, std::abs(change));
    error = std::max(error, std::abs(averaged[i] - before[i] - change * (1 - 2.0 / 11)));  // of step 1: 2 / 11 of old
    slow_error = std::max(slow_error, std::abs(slow[i] - before[i] - change / 2));
  }
  CHECK(moved > 0.9e-3);
  CHECK(error < 2e-6);
  CHECK(slow_error < 2e-6);
}

TEST_CASE("part by part, the gradients are those of the whole batch", "[training]") {
  const bool clip = GENERATE(false, true);
  const EncodedPairs encoded(true, false, "0", clip);
  const auto gradients = [&](std::int64_t micro_batch) {
    const TemporaryFolder run;
    Training training =
        encoded.training({.loss = Loss::info_nce, .micro_batch = micro_batch, .dropout = 0, .size = 6}, run.path());
    training.gradients(range(0, 30));
    std::vector<std::vector<float>> all;
    PairEncoder model = training.model();
    for (const Tensor& t : parameters(model))
      all.push_back(t.needs_grad() && t.grad().defined() ? t.grad().to_vector() : std::vector<float>());
    return all;
  };
  const auto whole = gradients(0);
  for (const std::int64_t micro_batch : {1, 7, 30}) {
    const auto parts = gradients(micro_batch);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      float largest = 0, error = 0;
      REQUIRE(parts[i].size() == whole[i].size());
      for (std::size_t j = 0; j < whole[i].size(); ++j) {
        largest = std::max(largest, std::abs(whole[i][j]));
        error = std::max(error, std::abs(parts[i][j] - whole[i][j]));
      }
      INFO("micro-batch " << micro_batch << ", parameter " << i << ", largest " << largest);
      CHECK(error <= 1e-6f * std::max(1.0f, largest));
    }
  }
}

TEST_CASE("a CLIP is trained by InfoNCE on its own space and scale, each side at its rate", "[training]") {
  const EncodedPairs encoded(true, true, "0", true);
  const TrainingOptions options{.loss = Loss::info_nce,
                                .epochs = 1,
                                .batch = 30,
                                .lr = 1e-2,
                                .image_lr = 1e-3,
                                .text_lr = 1e-4,
                                .weight_decay = 0.5};
  const TemporaryFolder run;
  Training training = encoded.training(options, run.path());
  const ClipEncoder given = ClipEncoder::load(encoded.folder / "clip");
  const std::vector<std::int32_t> some = range(0, 30),
                                  pictures = {0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,  6,  7,
                                              7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14};
  const Tensor expected =
      info_nce(given.embed_texts(encoded.pairs.texts(some), true), given.embed_images(encoded.pairs.pixels(pictures)),
               given.model.logit_scale, Tensor::from(pictures, {30}));
  training.run({.step = [](std::int64_t) {},
                .epoch = [](const EpochMetrics&) {},
                .improved = [](PairEncoder&, const EpochMetrics&) {},
                .stop = [] { return false; }});
  CHECK(training.metrics().front().train_loss == Approx(expected.item()).epsilon(1e-5));
  PairEncoder model = training.model();
  Clip before = given.model;
  const std::vector<Member> old = members(before), now = members(model);
  REQUIRE(now.size() == old.size());  // no heads
  for (const char* side : {"", "image", "text"}) {
    float moved = 0;  // by the first step of Adam: the rate
    for (std::size_t i = 0; i < old.size(); ++i)
      if (clip_side(old[i].name) == side) moved = std::max(moved, largest_difference(*old[i].tensor, *now[i].tensor));
    INFO(side);
    CHECK(moved == Approx(*side == 0 ? 1e-2 : *side == 'i' ? 1e-3 : 1e-4).epsilon(0.01));
  }
}

TEST_CASE("part by part, both passes drop the same elements", "[training]") {
  const EncodedPairs encoded(true, false, "0.4");
  const TrainingOptions options{.loss = Loss::info_nce, .micro_batch = 4, .dropout = 0.4f, .size = 6, .seed = 3};
  // the loss where one weight is moved, with the numbers of the same random stream
  const auto at = [&](std::size_t parameter, float move, float* gradient) {
    const TemporaryFolder run;
    Training training = encoded.training(options, run.path());
    PairEncoder model = training.model();
    Tensor weights = parameters(model)[parameter];
    weights.mutable_data<float>()[0] += move;
    const double loss = training.gradients(range(0, 10)).item();
    if (gradient != nullptr) *gradient = weights.grad().data<float>()[0];
    return loss;
  };
  PairEncoder model = encoded.training(options, encoded.folder / "run").model();
  const std::vector<Member> all = members(model);
  for (std::size_t i = 0, parameter = 0; i < all.size(); ++i) {
    if (!all[i].trainable) continue;
    if (all[i].name.ends_with("value.weight") || all[i].name.ends_with("fc.weight")) {
      INFO(all[i].name);
      float gradient = 0;
      at(parameter, 0, &gradient);
      const double slope = (at(parameter, 0.02f, nullptr) - at(parameter, -0.02f, nullptr)) / 0.04;
      CHECK(gradient == Approx(slope).epsilon(0.02).margin(1e-4));
    }
    ++parameter;
  }
}

TEST_CASE("each step drops other elements", "[training]") {
  const std::int64_t micro_batch = GENERATE(0, 4);
  for (const Device& device : devices()) {
    INFO(device << ", micro-batches " << micro_batch);
    const Pairs pairs = small_pairs(device);
    const TemporaryFolder run;
    Training training(pairs, {}, range(0, 30), range(30, 40),
                      {.micro_batch = micro_batch, .dropout = 0.4f, .size = 6, .device = device}, run.path(), "{}");
    const float first = training.gradients(range(0, 10)).item(), second = training.gradients(range(0, 10)).item();
    CHECK(first != second);  // no weight moved
  }
}

TEST_CASE("training lowers the loss and finds what it trained on", "[training]") {
  const Pairs pairs = small_pairs();
  const TemporaryFolder folder;
  Training training(pairs, {}, range(0, 40), range(0, 40), {.loss = Loss::info_nce, .epochs = 60, .batch = 16},
                    folder.path(), "{}");
  training.run({.step = [](std::int64_t) {},
                .epoch = [](const EpochMetrics&) {},
                .improved = [](PairEncoder&, const EpochMetrics&) {},
                .stop = [] { return false; }});
  const auto& metrics = training.metrics();
  CHECK(metrics.back().train_loss < 0.5 * metrics.front().train_loss);
  CHECK(metrics.back().val.text_to_image.r1 > 0.9);
}

TEST_CASE("a run is not resumed with another configuration", "[training]") {
  const Pairs pairs = small_pairs();
  const TemporaryFolder folder;
  const auto make = [&](const char* configuration) {
    return Training(pairs, {}, range(0, 30), range(30, 40), {.epochs = 1, .batch = 8}, folder.path(), configuration);
  };
  make(R"({"lr": 1, "seed": 2})")
      .run({.step = [](std::int64_t) {},
            .epoch = [](const EpochMetrics&) {},
            .improved = [](PairEncoder&, const EpochMetrics&) {},
            .stop = [] { return false; }});
  Training other = make(R"({"lr": 3, "seed": 2})");
  CHECK(throws_with([&] { other.resume([](const std::string&) {}); }, "was started with another lr: 1, not 3"));
}

TEST_CASE("a loss that is not finite stops the run, and says where, on a GPU a little later", "[training]") {
  const std::int64_t micro_batch = GENERATE(0, 2);
  for (const Device& device : devices()) {
    INFO(device << ", micro-batches " << micro_batch);
    Pairs pairs = small_pairs(device);
    pairs.features.text.view(12 * 12, {1}).copy_from(Tensor::of({std::numeric_limits<float>::infinity()}));
    const TemporaryFolder folder;
    Training training(pairs, {}, range(0, 30), range(30, 40),
                      {.epochs = 1, .batch = 3, .micro_batch = micro_batch, .device = device}, folder.path(), "{}");
    int steps = 0;
    std::string message;
    try {
      training.run({.step = [&](std::int64_t) { ++steps; },
                    .epoch = [](const EpochMetrics&) {},
                    .improved = [](PairEncoder&, const EpochMetrics&) {},
                    .stop = [] { return false; }});
    } catch (const Error& e) {
      message = e.what();
    }
    int bad = 0;  // the step that has caption 12
    Sampler sampler(range(0, 30), {.batch = 3});
    for (auto batch = sampler.next(); std::find(batch->begin(), batch->end(), 12) == batch->end();
         batch = sampler.next())
      ++bad;
    CHECK(contains(message, "the loss of step " + std::to_string(bad) + " is not finite"));
    CHECK(steps == (device.is_cpu() ? bad : 10));
    const auto saved = SafeTensors::open(folder / ("not-finite-step-" + std::to_string(bad) + ".safetensors"));
    const auto captions = saved.read("batch.captions").to_vector<std::int32_t>();
    CHECK(std::find(captions.begin(), captions.end(), 12) != captions.end());
    CHECK(saved.read("batch.text").shape() == Shape{3, 12});
    for (const float w : saved.read("heads.text_projection.projection.weight").to_vector())
      CHECK(std::isfinite(w) == device.is_cpu());  // which notices before the weights move
  }
}

}  // namespace
