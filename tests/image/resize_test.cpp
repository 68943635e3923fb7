#include "clip/image/resize.hpp"

#include "tests/image/golden.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// The same in tests/reference/image_reference.py.
Image synthetic(int width, int height, Colors colors) {
  Image image{width, height, colors, false, {}};
  const auto count = static_cast<std::uint32_t>(width * height * channels_of(colors));
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t mixed = (i ^ i >> 7) * 2654435761U;
    image.pixels.push_back(static_cast<std::uint8_t>((mixed ^ mixed >> 15) >> 9));
  }
  return image;
}

Filter filter_named(const std::string& name) {
  if (name == "nearest") return Filter::nearest;
  if (name == "box") return Filter::box;
  return name == "bilinear" ? Filter::bilinear : Filter::bicubic;
}

}  // namespace

TEST_CASE("resize equals Pillow bit for bit", "[image][resize]") {
  auto lines = golden_lines("resized.txt");
  REQUIRE(lines.size() > 400);
  for (auto& line : lines) {
    std::string mode, filter, hash;
    int width = 0, height = 0;
    Size to;
    line >> mode >> width >> height >> to.width >> to.height >> filter >> hash;
    INFO(line.str());
    const Colors colors = mode == "RGB" ? Colors::rgb : mode == "RGBA" ? Colors::rgba : Colors::cmyk;
    const Image resized = resize(synthetic(width, height, colors), to, filter_named(filter));
    CHECK(resized.width == to.width);
    CHECK(resized.height == to.height);
    CHECK(hash_of(resized.pixels) == hash);
  }
}

TEST_CASE("a part is that of the whole, with zeros beyond its edges", "[image][resize]") {
  for (const Colors colors : {Colors::rgb, Colors::rgba, Colors::cmyk})
    for (const Filter filter : {Filter::nearest, Filter::box, Filter::bilinear, Filter::bicubic})
      for (const Size to : {Size{40, 30}, Size{71, 30}, Size{40, 53}, Size{100, 90}, Size{13, 7}}) {
        const Image image = synthetic(71, 53, colors);
        const Image whole = resize(image, to, filter);
        for (const Window part : {Window{3, 2, 9, 5}, Window{-4, -3, 60, 50}, Window{5, -2, 6, 4}, Window{90, 4, 5, 5},
                                  Window{to.width - 2, to.height - 3, 8, 8}}) {
          const Image cut = resize(image, to, filter, part);
          REQUIRE(cut.width == part.width);
          REQUIRE(cut.height == part.height);
          bool same = true;
          const int channels = channels_of(colors);
          for (int y = 0; y < part.height; ++y)
            for (int x = 0; x < part.width; ++x)
              for (int c = 0; c < channels; ++c) {
                const int wx = x + part.left, wy = y + part.top;
                const bool inside = wx >= 0 && wy >= 0 && wx < to.width && wy < to.height;
                const auto at = [&](int column, int row, int columns) {
                  return static_cast<std::size_t>((row * columns + column) * channels + c);
                };
                same = same && cut.pixels[at(x, y, part.width)] == (inside ? whole.pixels[at(wx, wy, to.width)] : 0);
              }
          CHECK(same);
        }
      }
}

TEST_CASE("indexed pictures are resized by nearest", "[image][resize]") {
  Image image = synthetic(20, 20, Colors::rgb);
  const Image nearest = resize(image, {7, 9}, Filter::nearest);
  CHECK(resize(image, {7, 9}, Filter::bicubic).pixels != nearest.pixels);
  image.indexed = true;
  CHECK(resize(image, {7, 9}, Filter::bicubic).pixels == nearest.pixels);
}

TEST_CASE("resize refuses what is empty, too large or inconsistent", "[image][resize]") {
  const Image image = synthetic(4, 4, Colors::rgb);
  CHECK(throws_with([&] { resize(image, {0, 4}, Filter::box); }, "[resize] expected a size of 1 to 67108864 pixels"));
  CHECK(throws_with([&] { resize(image, {4, -1}, Filter::box); }, "got 4 x -1"));
  CHECK(throws_with([&] { resize(image, {60000, 60000}, Filter::nearest); }, "got 60000 x 60000"));
  CHECK(throws_with([&] { resize(image, {10, 10}, Filter::box, {}, 99); }, "1 to 99 pixels"));
  CHECK(throws_with([&] { resize(image, {4, 4}, Filter::box, Window{0, 0, 0, 1}); }, "got 0 x 1"));
  CHECK(throws_with(
      [&] {
        resize(image, {4, 4}, Filter::box, Window{INT32_MIN, 0, 1, 1});
      },
      "within 2^30 pixels of the picture, got one at -2147483648, 0"));
  CHECK(throws_with([&] { resize(Image{}, {4, 4}, Filter::box); }, "[resize] expected a picture"));
  Image short_of_pixels = image;
  short_of_pixels.pixels.pop_back();
  CHECK(throws_with([&] { resize(short_of_pixels, {4, 4}, Filter::box); }, "as many samples as its size says"));
}
