#include "examples/support/grid.hpp"

#include <set>
#include <string>

#include "clip/image/image.hpp"
#include "examples/support/font.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

std::size_t dark_pixels(const Image& image) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) count += image.pixels[i] < 128;
  return count;
}

Image paper(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.pixels.assign(3 * static_cast<std::size_t>(width * height), 255);
  return image;
}

TEST_CASE("every character of ASCII and Latin-1 is drawn, and inside its width", "[grid]") {
  const Font font{.height = 18};
  const Image nothing = paper(60, 60);
  std::set<std::string> seen;
  for (char32_t code = 0x21; code <= 0xff; ++code) {
    if (code >= 0x7f && code <= 0xa0) continue;
    const std::string text =
        code < 0x80 ? std::string{static_cast<char>(code)}
                    : std::string{static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    Image image = paper(120, 60);
    font.draw(image, 30, 40, text);
    INFO(text);
    CHECK(dark_pixels(image) >= 4);
    const int right = 30 + static_cast<int>(font.width(text)) + 1;
    for (int y = 0; y < image.height; ++y)
      for (int x = right; x < image.width; ++x)
        REQUIRE(image.pixels[3 * static_cast<std::size_t>(y * image.width + x)] == 255);
    seen.emplace(image.pixels.begin(), image.pixels.end());
  }
  CHECK(seen.size() >= 180);  // raised digits and letters are plain ones, a soft hyphen is a hyphen
  Image box = paper(60, 60), other = paper(60, 60), bad = paper(60, 60);
  font.draw(box, 20, 40, "\u4e2d");
  font.draw(other, 20, 40, "\u2603");
  font.draw(bad, 20, 40, "\xff");
  CHECK(dark_pixels(box) > 20);
  CHECK(box.pixels == other.pixels);
  CHECK(box.pixels == bad.pixels);
}

TEST_CASE("text outside the picture is left out", "[grid]") {
  Image image = paper(20, 20);
  const Font font{.height = 12};
  font.draw(image, -50, 10, "abcdefghijkl");
  font.draw(image, 5, -20, "above");
  font.draw(image, 5, 60, "below");
  font.draw(image, 1000, 10, "right");
  CHECK(image.pixels.size() == 1200);
}

TEST_CASE("captions are wrapped between words, and cut with dots", "[grid]") {
  const Font font{.height = 9};
  const double width = font.width("a brown dog");
  CHECK(font.wrap("a brown dog", width, 3) == std::vector<std::string>{"a brown dog"});
  CHECK(font.wrap("a brown dog runs", width, 3) == std::vector<std::string>{"a brown dog", "runs"});
  CHECK(font.wrap("  a   brown dog ", width, 3) == std::vector<std::string>{"a brown dog"});
  CHECK(font.wrap("", width, 3) == std::vector<std::string>{""});
  const std::vector<std::string> cut = font.wrap("a brown dog runs along the beach", width, 2);
  REQUIRE(cut.size() == 2);
  CHECK(cut[1].ends_with("..."));
  CHECK(cut[1].starts_with("runs"));
  CHECK(font.width(cut[1]) <= width);
  for (const std::string& text : {std::string(500, 'm'), std::string("\xff\xfe\xfd") + std::string(100, '\xe9')})
    for (const std::string& line : font.wrap(text, width, 3)) CHECK(font.width(line) <= width);
  CHECK(font.wrap(std::string(500, 'm'), width, 3).size() == 3);
  CHECK(font.wrap("wide", 1, 3).size() == 3);  // never stuck
}

TEST_CASE("a grid shows pictures of any shape, and room for those that cannot be read", "[grid]") {
  const TemporaryFolder folder;
  const std::string out = folder / "grid.png";
  Grid grid{.title = "a query", .note = "2 of 5", .query = test_data("image/rgb8.png"), .pictures = {}};
  write_grid(out, grid);  // nothing found
  const int empty = read_image(out).height;
  grid.pictures = {{test_data("image/444.jpg"), 0.5, "a caption", "unseen"},
                   {test_data("image/rgb8.png"), 0.25, "", ""}};
  write_grid(out, grid);
  const Image two = read_image(out);
  CHECK(two.height > empty + 200);
  CHECK(two.colors == Colors::rgb);
  grid.pictures.push_back({folder / "none.png", 0.1, "gone", ""});
  std::filesystem::remove(out);
  CHECK(throws_with([&] { write_grid(out, grid); }, "none.png"));
  CHECK(!std::filesystem::exists(out));
  write_grid(out, grid, true);
  CHECK(read_image(out).height > two.height);
}

}  // namespace
