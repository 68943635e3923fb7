#include "clip/models/clip_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/image/image.hpp"
#include "clip/io/file.hpp"
#include "clip/models/clip_guide.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

const std::vector<std::string> texts = {"The cat", "a", "the the cat!"};

/// Smooth, wider than high.
Image picture(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (const int value : {255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)})
        image.pixels.push_back(static_cast<std::uint8_t>(value));
  return image;
}
Tensor pixels_of(const Image& image) {
  std::vector<float> values;
  for (const std::uint8_t sample : image.pixels) values.push_back(static_cast<float>(sample) / 255);
  return Tensor::from(values, {1, image.height, image.width, 3});
}

TEST_CASE("a CLIP encoder tokenises, prepares, embeds and scores", "[clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  CHECK(!ClipEncoder::is_in(folder.path()));
  write_small_clip(folder.path());
  CHECK(ClipEncoder::is_in(folder.path()));
  const ClipEncoder encoder = ClipEncoder::load(folder.path());
  const Tensor rows = encoder.embed_texts(texts);
  CHECK(rows.shape() == Shape{3, 16});
  for (const float length : sum(rows * rows, {1}).to_vector()) CHECK(length == Approx(1).epsilon(1e-5));
  const Tokens tokens = Tokens::pack(std::vector<std::vector<std::int32_t>>{{516, 513, 515, 517}});
  CHECK(compare(encoder.model.embed_texts(tokens), encoder.model.embed_texts(encoder.tokenizer.encode({texts[0]})))
            .relative == 0);
  const std::string many = "a a a a a a a a a a a a a a a a a a a a a a";
  CHECK(throws_with([&] { encoder.embed_texts(std::vector<std::string>{"a", many}); }, "in text 2"));
  CHECK(encoder.embed_texts(std::vector<std::string>{many}, true).shape() == Shape{1, 16});

  std::vector<std::filesystem::path> files;
  for (const int i : {0, 1, 2}) {
    std::string ppm = "P6 40 36 255\n";
    const Image image = picture(40, 36);
    ppm.append(image.pixels.begin(), image.pixels.end());
    ppm[ppm.size() - 1 - static_cast<std::size_t>(i)] = 'x';
    files.push_back(folder.write("picture" + std::to_string(i) + ".ppm", ppm));
  }
  const Tensor images = encoder.embed_images(files);
  const Tensor scores = clip_score(encoder, files, texts);
  const auto cosine = sum(images * rows, {1}).to_vector();
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(scores.data<float>()[i] == Approx(100 * std::max(cosine[i], 0.0f)).margin(1e-4));
  CHECK(std::any_of(cosine.begin(), cosine.end(), [](float c) { return c > 0; }));
  CHECK(throws_with([&] { clip_score(encoder, files, std::span(texts).first(2)); },
                    "expected as many pictures as texts, got 3 and 2"));

  folder.write("preprocessor_config.json", R"({"size": {"shortest_edge": 24}, "crop_size": 24})");
  CHECK(throws_with([&] { ClipEncoder::load(folder.path()); }, "expected pictures to be made 32 x 32 in "));
}

TEST_CASE("a CLIP is saved beside what was loaded, and nowhere else", "[clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  write_small_clip(folder / "given");
  ClipEncoder encoder = ClipEncoder::load(folder / "given");
  encoder.model.logit_scale.fill(3);
  for (int again = 0; again < 2; ++again) save_clip(encoder.model, folder / "given", folder / "new/");
  CHECK(ClipEncoder::load(folder / "new").model.logit_scale.item() == 3);
  CHECK(ClipEncoder::load(folder / "given").model.logit_scale.item() != 3);
  std::filesystem::create_directory(folder / "other");
  write_file(folder / "other/letter.txt", "dear");
  CHECK(throws_with([&] { save_clip(encoder.model, folder / "given", folder / "other"); },
                    "holds something that is no CLIP"));
  CHECK(read_file(folder / "other/letter.txt") == "dear");
}

TEST_CASE("a CLIP guides pictures of any size toward a prompt", "[clip]") {
  const TemporaryFolder folder;
  write_small_clip(folder.path());
  const ClipEncoder encoder = ClipEncoder::load(folder.path());
  const ClipGuide guide(encoder, "the cat");
  for (const auto& [width, height] : {std::pair(50, 40), std::pair(20, 33), std::pair(32, 32)}) {
    const Image image = picture(width, height);
    const Tensor pixels = pixels_of(image);
    {  // as with the folder's preprocessing, but for its rounding
      const NoGrad guard;
      const Tensor row = encoder.embed_images(encoder.preprocess(image));
      const float expected = sum(row * encoder.embed_texts(std::vector<std::string>{"the cat"})).item();
      CHECK(guide.score(pixels).item() == Approx(expected).margin(2e-3));
    }
    const ClipGuide::Gradient gradient = guide.gradient(pixels);
    CHECK(gradient.score.item() == Approx(guide.score(pixels).item()));
    CHECK(gradient.pictures.shape() == pixels.shape());
    CHECK(!pixels.needs_grad());
    const NoGrad guard;
    for (const std::string name : {"a", "b"}) {  // finite differences along some directions
      const Tensor step = scale(hash_tensor(name, pixels.shape()), 0.005f);
      const float change = guide.score(pixels + step).item() - guide.score(pixels - step).item();
      CHECK(change == Approx(2 * sum(gradient.pictures * step).item()).epsilon(0.02).margin(2e-5));
    }
    const Tensor better =
        pixels + scale(gradient.pictures, 0.01f / std::sqrt(sum(gradient.pictures * gradient.pictures).item()));
    CHECK(guide.score(better).item() > gradient.score.item());
  }
  const Tensor pixels = pixels_of(picture(50, 40));
  const Image part = picture(50, 40);
  Image cut;
  cut.width = 30, cut.height = 20;
  for (int y = 5; y < 25; ++y)
    cut.pixels.insert(cut.pixels.end(), part.pixels.begin() + 3 * (50 * y + 10),
                      part.pixels.begin() + 3 * (50 * y + 40));
  CHECK(guide.score(pixels, {.x = 10, .y = 5, .width = 30, .height = 20}).item() ==
        Approx(guide.score(pixels_of(cut)).item()).margin(1e-6));
  CHECK(throws_with([&] { guide.score(pixels, {.x = 30, .y = 5, .width = 30, .height = 20}); },
                    "expected a part of 50 x 40, got 30 x 20 at 30, 5"));
  CHECK(throws_with([&] { guide.score(zeros({3, 8, 8})); }, "expected pictures f32 [N, H, W, 3]"));
  ClipEncoder smaller = encoder;  // a pixel less than its crop
  Preprocessing settings = encoder.preprocess.settings();
  settings.pipeline = Pipeline::openai;
  settings.shorter_side = 31;
  smaller.preprocess = Preprocessor(settings);
  CHECK(throws_with([&] { ClipGuide(smaller, "the cat").score(pixels); },
                    "expected pictures resized to at least 32 x 32"));
}

TEST_CASE("a CLIP guides pictures as PyTorch's differentiable preprocessing does", "[clip]") {
  const SafeTensors expected = golden("clip_guide");  // of tests/reference/clip_guide.py, which has the same cases
  const TemporaryFolder folder;
  write_small_clip(folder.path());
  const auto check_case = [&](const std::string& name, std::int64_t width, std::int64_t height, const char* settings,
                              const ClipGuide::Part& part = {}) {
    INFO(name);
    folder.write("preprocessor_config.json", std::string(R"({"image_processor_type": "CLIPImageProcessor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], )") +
                                                 settings + "}");
    const ClipGuide guide(ClipEncoder::load(folder.path()), "the cat");
    std::vector<float> samples = hash_uniform("pictures", height * width * 3);
    for (float& sample : samples) sample = (sample + 1) / 2;
    const Tensor pixels = Tensor::from(samples, {1, height, width, 3}).requires_grad();
    const Tensor score = guide.score(pixels, part);
    CHECK(score.item() == Approx(expected.read(name).item()).margin(1e-6));
    backward(sum(score));
    if (expected.has("grad." + name)) CHECK(compare(pixels.grad(), expected.read("grad." + name)).relative < 1e-4);
  };
  const char* const floors = R"("size": {"shortest_edge": 32}, "crop_size": 32)";
  const char* const rounds = R"("size": {"shortest_edge": 32}, "crop_size": 32, "pipeline": "openai")";
  check_case("shrunk", 50, 40, floors);
  check_case("enlarged", 20, 33, rounds);
  check_case("rounded", 44, 40, rounds);
  check_case("floored", 44, 40, floors);
  check_case("part", 50, 40, rounds, {.x = 10, .y = 5, .width = 30, .height = 22});
  check_case("bilinear", 45, 36,
             R"("size": {"shortest_edge": 32}, "crop_size": 32, "pipeline": "openai", "resample": 2)");
  check_case("squeezed", 45, 36, R"("size": {"height": 32, "width": 32}, "do_center_crop": false)");
}

}  // namespace
}  // namespace clip
