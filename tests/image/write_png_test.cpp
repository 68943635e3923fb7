#include "clip/image/write_png.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

TEST_CASE("a PNG file holds the pixels that were written", "[image]") {
  const TemporaryFolder folder;
  for (const Colors colors : {Colors::rgb, Colors::rgba}) {
    Image image;
    image.width = 37;
    image.height = 11;
    image.colors = colors;
    for (int i = 0; i < image.width * image.height * channels_of(colors); ++i)
      image.pixels.push_back(static_cast<std::uint8_t>(i * i % 251));
    write_png(folder / "a.png", image);
    const Image read = read_image(folder / "a.png");
    CHECK(read.width == 37);
    CHECK(read.height == 11);
    CHECK(read.colors == colors);
    CHECK(read.pixels == image.pixels);
  }
  CHECK(throws_with([&] { write_png(folder / "b.png", Image{}); }, "b.png"));
  CHECK(!std::filesystem::exists(folder / "b.png"));
}
