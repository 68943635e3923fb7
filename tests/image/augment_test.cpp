#include "clip/image/augment.hpp"

#include <omp.h>

#include <cmath>
#include <numbers>

#include "clip/core/error.hpp"
#include "clip/image/write_png.hpp"
#include "clip/io/file.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

constexpr Variation unchanged{1, 1, 0, 0, false, 0, 1, 1, 1, {255, 255, 255}, {}};

/// Every sample another, so that what moved can be told.
Image ramp(int width, int height, Colors colors = Colors::rgb) {
  Image image{width, height, colors, false, {}};
  for (int i = 0; i < width * height * channels_of(colors); ++i)
    image.pixels.push_back(static_cast<std::uint8_t>(i * 7 % 256));
  return image;
}

Preprocessing plain(Size size) { return {.size = size, .rescale = 1}; }

AugmentedPictures of(const Preprocessing& settings) { return {{}, settings, 0}; }

}  // namespace

TEST_CASE("a variation that changes nothing gives what the model sees otherwise", "[image]") {
  Preprocessing settings{.size = {24, 20}, .mean = {.5F, .4F, .3F}, .std = {.2F, .3F, .4F}};
  settings.background = {255, 255, 255};
  for (const char* name : {"photo.jpg", "faded.png", "upright.jpg"}) {
    const Image image = read_image(image_data / name);
    const auto expected = Preprocessor(settings)(image).to_vector(), got = of(settings)(image, unchanged).to_vector();
    REQUIRE(got.size() == expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(expected[i]).margin(1e-5));
  }
}

TEST_CASE("a variation crops, mirrors, and puts on a background", "[image]") {
  const Image image = ramp(4, 3);
  Variation v = unchanged;
  v.flip = true;
  auto got = of(plain({4, 3}))(image, v).to_vector();
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 4; ++x)
      for (int c = 0; c < 3; ++c)
        CHECK(got[static_cast<std::size_t>(3 * (4 * y + x) + c)] ==
              image.pixels[static_cast<std::size_t>(3 * (4 * y + 3 - x) + c)]);

  v = unchanged;  // a quarter of 8 x 6: 4 x 3, at the lower right, and half way
  v.area = 0.25;
  const Image large = ramp(8, 6);
  for (const auto& [share, left, top] : {std::array{1., 4., 3.}, std::array{.5, 2., 2.}}) {
    v.left = v.top = share;
    got = of(plain({4, 3}))(large, v).to_vector();
    const auto from = static_cast<std::size_t>(3 * (8 * top + left));
    CHECK(got[0] == large.pixels[from]);
    CHECK(got[got.size() - 1] == large.pixels[from + 3 * (8 * 2 + 3) + 2]);
  }

  v = unchanged;  // by a right angle, clockwise, the top row becomes the right column
  v.turn = std::numbers::pi / 2;
  const Image square = ramp(5, 5);
  const auto quarter = of(plain({5, 5}))(square, v).to_vector();
  for (std::size_t y = 0; y < 5; ++y)
    for (std::size_t x = 0; x < 5; ++x)
      for (std::size_t c = 0; c < 3; ++c)
        CHECK(quarter[3 * (5 * y + x) + c] == square.pixels[3 * (5 * (4 - x) + y) + c]);
  v.turn = 0.3;  // between pixels, as computed by hand
  const auto slanted = of(plain({5, 5}))(square, v).to_vector();
  const double from_x = 2 + std::cos(0.3) * 1 + std::sin(0.3) * -1, from_y = 2 - std::sin(0.3) * 1 + std::cos(0.3) * -1;
  const double fx = from_x - 2, fy = from_y;  // pixel (3, 1) comes from between columns 2 and 3 and rows 0 and 1
  const auto red = [&](std::size_t x, std::size_t y) { return square.pixels[3 * (5 * y + x)]; };
  CHECK(slanted[3 * (5 * 1 + 3)] == std::floor((1 - fy) * ((1 - fx) * red(2, 0) + fx * red(3, 0)) +
                                               fy * ((1 - fx) * red(2, 1) + fx * red(3, 1)) + .5));
  CHECK(of(plain({1, 1}))(ramp(1, 1), v).to_vector()[1] == 7);
  Image wide{30, 10, Colors::rgb, false, std::vector<std::uint8_t>(900)};  // a square of 5 x 5 in its middle,
  for (int y = 3; y < 8; ++y) std::fill_n(wide.pixels.begin() + 3 * (30 * y + 13), 15, std::uint8_t{255});
  v.turn = std::numbers::pi / 2;  // by a right angle stays one, though the model sees it squashed
  const auto stood = of(plain({10, 10}))(wide, v).to_vector();
  int rows = 0, columns = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    rows += stood[3 * (10 * i + 5)] > 127;
    columns += stood[3 * (10 * 5 + i)] > 127;
  }
  CHECK(rows == 5);
  CHECK(columns == 2);  // 5 of 30

  v = unchanged;
  v.erased = {0.25, 0.5, 0.5, 0.4, {1, 2, 3}};
  const Image eight = ramp(8, 10);
  const auto painted = of(plain({8, 10}))(eight, v).to_vector();
  for (std::size_t y = 0; y < 10; ++y)
    for (std::size_t x = 0; x < 8; ++x)
      for (std::size_t c = 0; c < 3; ++c) {
        const bool inside = x >= 2 && x < 6 && y >= 5 && y < 9;
        const std::size_t at = 3 * (8 * y + x) + c;
        CHECK(painted[at] == (inside ? static_cast<float>(c + 1) : eight.pixels[at]));
      }
  v = unchanged;

  Image glass = ramp(1, 1, Colors::rgba);
  glass.pixels = {200, 100, 0, 51};  // a fifth opaque
  v.background = {10, 20, 250};
  CHECK(of(plain({1, 1}))(glass, v).to_vector() == std::vector<float>{48, 36, 200});
}

TEST_CASE("crops keep their proportions unless the model's pictures are squashed", "[image]") {
  // left half black, right half white; a crop of a quarter from the left shows where it ends
  Image image{200, 50, Colors::rgb, false, std::vector<std::uint8_t>(30000)};
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = i / 3 % 200 < 100 ? 0 : 255;
  Variation v = unchanged;
  v.area = 0.25;
  const auto white = [&](const Preprocessing& settings) {
    const auto pixels = of(settings)(image, v).to_vector();
    double sum = 0;
    for (const float sample : pixels) sum += sample / 255;
    return sum / static_cast<double>(pixels.size());
  };
  CHECK(white(plain({20, 20})) == Approx(0).margin(0.01));  // 100 of 200 columns
  v.stretch = 2.25;                                         // 150 of them
  CHECK(white(plain({20, 20})) == Approx(1. / 3).margin(0.01));
  v.area = 0.75;  // as a square 87 wide, but there are only 50 rows
  v.stretch = 1;
  CHECK(white({.shorter_side = 20, .crop = {20, 20}, .rescale = 1}) == Approx(0).margin(0.01));
}

TEST_CASE("brightness, contrast and saturation are the formula's", "[image]") {
  Image image{1, 1, Colors::rgb, false, {200, 100, 50}};
  Variation v = unchanged;
  v.brightness = 1.1F;
  v.contrast = 0.8F;
  v.saturation = 1.2F;
  const double luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50;
  const auto got = of(plain({1, 1}))(image, v).to_vector();
  for (std::size_t c = 0; c < 3; ++c) {
    const double saturated = 1.2 * image.pixels[c] - 0.2 * luma;
    CHECK(got[c] == Approx(1.1 * (0.8 * (saturated - 128) + 128)).margin(1e-3));
  }
  v.brightness = 2;
  CHECK(of(plain({1, 1}))(image, v).to_vector()[0] == 255);
}

TEST_CASE("seed, epoch and picture decide a variation, within its ranges", "[image]") {
  const Augmentation how;
  const auto numbers = [&](std::uint64_t seed, std::int64_t epoch, std::int64_t picture) {
    const Variation v = Variation::draw(how, seed, epoch, picture);
    return std::vector<double>{v.area, v.stretch, v.left, v.top, v.brightness, v.contrast, v.saturation, v.turn};
  };
  CHECK(numbers(1, 2, 3) == numbers(1, 2, 3));
  for (const auto& other : {numbers(2, 2, 3), numbers(1, 3, 3), numbers(1, 2, 4)}) CHECK(numbers(1, 2, 3) != other);

  constexpr int count = 4000;
  std::vector<double> sum(8), least(8, 10), most(8, -10);
  double flips = 0, whites = 0, red = 0, erased = 0, width = 0;
  for (int i = 0; i < count; ++i) {
    const auto values = numbers(7, i / 100, i % 100);
    for (std::size_t k = 0; k < 8; ++k) {
      sum[k] += (k == 1 ? std::log(values[k]) : values[k]) / count;
      least[k] = std::min(least[k], values[k]);
      most[k] = std::max(most[k], values[k]);
    }
    const Variation v = Variation::draw(how, 7, i / 100, i % 100);
    flips += v.flip;
    erased += v.erased.width > 0;
    width += v.erased.width;
    CHECK(v.erased.left + v.erased.width <= 1);
    CHECK(v.erased.top + v.erased.height <= 1);
    const bool white = v.background == std::array<std::uint8_t, 3>{255, 255, 255};
    whites += white;
    red += white ? 0 : v.background[0];
  }
  CHECK(erased / count == Approx(how.erase).margin(0.03));
  CHECK(width / erased == Approx(0.35).margin(0.01));
  const std::vector<double> middle{(1 + how.min_area) / 2, 0, .5, .5, 1, 1, 1, 0},
      low{how.min_area, .75, 0, 0, .65, .65, .65, -std::numbers::pi / 12},
      high{1, 4. / 3, 1, 1, 1.35, 1.35, 1.35, std::numbers::pi / 12};
  for (std::size_t k = 0; k < 8; ++k) {
    CHECK(sum[k] == Approx(middle[k]).margin(0.02));
    CHECK(least[k] == Approx(low[k]).margin(0.01));
    CHECK(most[k] == Approx(high[k]).margin(0.01));
  }
  CHECK(flips / count == Approx(0.5).margin(0.03));
  CHECK(whites / count == Approx(0.4).margin(0.03));
  CHECK(red / (count - whites) == Approx(127.5).margin(4));
}

TEST_CASE("a batch does not depend on what else is in it, on threads, or on what is kept", "[image][threads]") {
  std::vector<std::filesystem::path> files;
  for (const char* name : {"photo.jpg", "faded.png", "cmyk.jpg", "palette.gif", "upright.jpg", "one.jpg"})
    files.push_back(image_data / name);
  const Preprocessing settings{.size = {32, 24}};
  AugmentedPictures pictures(files, settings, 5), forgetful(files, settings, 5, {}, 0);
  const std::vector<std::int32_t> order{3, 0, 5, 0, 1, 2, 4};
  const Tensor batch = pictures(order, 9);
  REQUIRE(batch.shape() == Shape{7, 24, 32, 3});
  CHECK(pictures(order, 9).to_vector() == batch.to_vector());  // now from memory
  CHECK(forgetful(order, 9).to_vector() == batch.to_vector());
  CHECK(pictures(order, 10).to_vector() != batch.to_vector());
  const std::int32_t small = 3;  // which is not shrunk when it is read
  CHECK(pictures({&small, 1}, 9, 0.5).to_vector() ==
        of({.size = {16, 12}})(read_image(files[3]), Variation::draw({}, 5, 9, small)).to_vector());
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  for (std::size_t i = 0; i < order.size(); ++i)
    CHECK(AugmentedPictures(files, settings, 5)({&order[i], 1}, 9).to_vector() ==
          batch.view(static_cast<std::int64_t>(i) * 24 * 32 * 3, {1, 24, 32, 3}).to_vector());
  omp_set_num_threads(threads);
  CHECK(AugmentedPictures(files, settings, 6)(order, 9).to_vector() != batch.to_vector());
}

TEST_CASE("augmentation refuses what it cannot do", "[image]") {
  const TemporaryFolder folder;
  write_file(folder / "text.png", "no picture");
  const Preprocessing settings = plain({4, 4});
  AugmentedPictures pictures({folder / "text.png"}, settings, 0);
  const std::int32_t bad[] = {0, 1};
  CHECK(throws_with([&] { pictures({bad, 1}, 0); }, "text.png"));
  CHECK(throws_with([&] { pictures({bad + 1, 1}, 0); }, "expected pictures 0 to 1, got 1"));
  for (const double scale : {0., 1.1, double{NAN}})
    CHECK(throws_with([&] { pictures({bad, 1}, 0, scale); }, "expected a scale above 0 and up to 1"));
  const auto refused = [&](const Augmentation& how) {
    return throws_with([&] { AugmentedPictures({}, settings, 0, how); }, "[augment] expected");
  };
  CHECK(refused({.min_area = 0}));
  CHECK(refused({.min_area = 1.1}));
  CHECK(refused({.max_stretch = 0.9}));
  CHECK(refused({.turn = 181}));
  CHECK(refused({.flip = -1}));
  CHECK(refused({.white = 1.5}));
  CHECK(refused({.erase = -0.1}));
  CHECK(refused({.contrast = 1.5F}));
  CHECK(refused({.saturation = NAN}));
}
