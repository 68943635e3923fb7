#include <algorithm>
#include <set>

#include "clip/image/image.hpp"
#include "clip/io/file.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

std::string content(const std::string& name) { return read_file(image_data / name); }

Image decode(const std::string& file, const ImageLimits& limits = {}) {
  return decode_image(std::as_bytes(std::span(file)), "picture", limits);
}
std::vector<std::uint8_t> rgb_pixels(const std::string& file) { return to_rgb(decode(file)).pixels; }

}  // namespace

TEST_CASE("every kind of picture has the pixels that Pillow gives it", "[image]") {
  auto lines = golden_lines("decoded.txt");
  REQUIRE(lines.size() > 50);
  for (auto& line : lines) {
    std::string name, hash;
    int width = 0, height = 0;
    line >> name >> width >> height >> hash;
    INFO(name);
    const Image image = to_rgb(read_image(image_data / name));
    CHECK(image.width == width);
    CHECK(image.height == height);
    CHECK(hash_of(image.pixels) == hash);
  }
}

TEST_CASE("a palette's transparency is kept", "[image]") {
  const Image image = read_image(image_data / "palette8.png");
  REQUIRE(image.colors == Colors::rgba);
  CHECK(image.indexed);
  std::set<int> alphas;
  for (std::size_t i = 3; i < image.pixels.size(); i += 4) alphas.insert(image.pixels[i]);
  CHECK(alphas == std::set<int>{0, 128, 255});  // of the first entry, the second, and those without
}

TEST_CASE("a picture cut off anywhere is an error, or was complete", "[image]") {
  auto lines = golden_lines("decoded.txt");
  for (auto& line : lines) {
    std::string name;
    line >> name;
    if (name == "photo.jpg" || name == "upright.jpg" || name == "faded.png") continue;  // larger, and no other kinds
    INFO(name);
    const std::string whole = content(name);
    const auto pixels = rgb_pixels(whole);
    std::size_t refused = 0;
    const std::size_t step = std::max<std::size_t>(1, whole.size() / 400);
    for (std::size_t length = 0; length<whole.size(); length += whole.size() - length> 40 ? step : 1) {
      try {
        const auto part = rgb_pixels(whole.substr(0, length));
        if (part != pixels) FAIL_CHECK("cut to " << length << " of " << whole.size() << " bytes it has other pixels");
      } catch (const Error&) {
        ++refused;
      }
    }
    CHECK(refused > 10);
  }
}

TEST_CASE("only what follows the pixels may be missing", "[image]") {
  for (const char* name : {"420.jpg", "progressive.jpg", "gray.jpg", "cmyk.jpg"}) {
    INFO(name);
    const std::string whole = content(name);
    CHECK(rgb_pixels(whole.substr(0, whole.size() - 2)) == rgb_pixels(whole));  // the end marker
    CHECK(throws_with([&] { decode(whole.substr(0, whole.size() - 12)); }, "[image] cannot decode 'picture': "));
  }
  const std::string png = content("rgb8.png"), gif = content("palette.gif");
  CHECK(rgb_pixels(png.substr(0, png.size() - 12)) == rgb_pixels(png));  // IEND
  CHECK(rgb_pixels(gif.substr(0, gif.size() - 1)) == rgb_pixels(gif));   // the trailer
}

TEST_CASE("odd settings that touch no pixel are passed over, as Pillow does", "[image]") {
  const std::string whole = content("420.jpg");
  std::string odd = whole;
  odd[odd.find("JFIF") + 5] = 9;                                // a version that does not exist
  odd[odd.rfind("\xff\xda\0", std::string::npos, 3) + 12] = 0;  // the last coefficient of the one scan, which has all
  CHECK(odd != whole);
  CHECK(rgb_pixels(odd) == rgb_pixels(whole));
}

TEST_CASE("a GIF's codes must fill its first frame", "[image]") {
  using namespace std::string_literals;
  // 2 x 2 pixels in codes of 3 bits: clear (4), colour 0 and end (5); then with a code that is not defined yet (7)
  const std::string start = "GIF89a\2\0\2\0\0\0\0,\0\0\0\0\2\0\2\0\0\2\2"s;
  CHECK(throws_with([&] { decode(start + "\x44\1\0;"s); }, "its pixels are incomplete"));
  CHECK(throws_with([&] { decode(start + "\xc4\1\0;"s); }, "an LZW code without meaning"));
  CHECK(throws_with([&] { decode(start.substr(0, 13) + ";"); }, "it holds no picture"));
}

TEST_CASE("a PNG's checksums are checked", "[image]") {
  for (const char* name : {"rgb8.png", "palette4.png", "interlaced.png"}) {
    const std::string whole = content(name);
    for (const char* chunk : {"IHDR", "PLTE", "IDAT"}) {
      const std::size_t at = whole.find(chunk);
      if (at == std::string::npos) continue;
      const auto size = static_cast<std::size_t>(static_cast<unsigned char>(whole[at - 1])) +
                        256 * static_cast<std::size_t>(static_cast<unsigned char>(whole[at - 2]));
      for (const std::size_t byte : {at + 4 + size / 2, at + 4 + size, at + 7 + size}) {
        INFO(name << ", byte " << byte - at << " of " << chunk);
        std::string broken = whole;
        broken[byte] = static_cast<char>(broken[byte] ^ 4);
        CHECK_THROWS_AS(decode(broken), Error);
      }
    }
  }
}

TEST_CASE("flipped bits give an error or a picture", "[image]") {
  for (const auto& entry : std::filesystem::directory_iterator(image_data)) {
    const std::set<std::string> kinds{".jpg", ".png", ".bmp", ".gif", ".ppm", ".pgm"};
    if (!kinds.contains(entry.path().extension().string()) || entry.file_size() > 6000) continue;
    const std::string whole = read_file(entry.path());
    for (std::size_t i = 0; i < 200; ++i) {
      std::string broken = whole;
      const std::size_t at = i < 60 ? i : (i * 7919 + 13) % broken.size();
      if (at >= broken.size()) continue;
      broken[at] = static_cast<char>(broken[at] ^ (1 << i % 8));
      try {
        const Image image = decode(broken, {1 << 20, 50});
        CHECK(image.pixels.size() == static_cast<std::size_t>(image.width * image.height * channels_of(image.colors)));
      } catch (const Error&) {
      }
    }
  }
}

TEST_CASE("limits on pixels and scans hold before anything is decoded", "[image]") {
  const std::string photo = content("photo.jpg");
  CHECK_NOTHROW(decode(photo, {320 * 213, 500}));
  CHECK(throws_with([&] { decode(photo, {320 * 213 - 1, 500}); }, "320 x 213 pixels, more than the 68159"));
  for (const char* name : {"rgb8.png", "palette.gif", "rgb.bmp", "rgb.ppm"})
    CHECK(throws_with([&] { decode(content(name), {100, 500}); }, "more than the 100"));
  const std::string progressive = content("progressive.jpg");
  CHECK_NOTHROW(decode(progressive, {1 << 20, 10}));
  CHECK(throws_with([&] { decode(progressive, {1 << 20, 9}); }, "more than the 9 scans"));

  std::string bomb = content("rgb.bmp");  // 2^31 - 1 pixels wide, of which the file has none
  bomb.replace(18, 4, "\xff\xff\xff\x7f");
  CHECK_THROWS_AS(decode(bomb), Error);
}

TEST_CASE("what is no picture is named", "[image]") {
  using namespace std::string_literals;
  CHECK(throws_with([] { decode(""); }, "the file is empty"));
  CHECK(throws_with([] { decode("RIFF\0\0\0\0WEBPVP8 "s); }, "it is WebP, which is not supported"));
  CHECK(throws_with([] { decode("II*\0\0\0"s); }, "it is TIFF"));
  CHECK(throws_with(
      [] {
        decode(
            "\0\0\0\x1c"
            "ftypavif"s);
      },
      "it is AVIF"));
  CHECK(throws_with([] { decode("<html>"); }, "it is HTML"));
  CHECK(throws_with([] { decode("not \x1b[2J"); }, "starts with 'not \\x1b[2J'"));
  CHECK(throws_with([] { decode("BM"); }, "the file is cut off"));
  const std::vector<std::byte> half_a_letter{std::byte{0xc2}};  // nothing may be read past its end
  CHECK(throws_with([&] { decode_image(half_a_letter, "picture"); }, "starts with '\\xc2'"));
  CHECK(throws_with([] { decode("\xff\xd8\xff"); }, "cannot decode 'picture'"));
  CHECK(throws_with([] { read_image(image_data); }, "is a folder"));
  CHECK(throws_with([] { read_image(image_data / "none.jpg"); }, "none.jpg"));
}

TEST_CASE("a picture is told by its content", "[image]") {
  const TemporaryFolder folder;
  std::filesystem::copy_file(image_data / "rgb8.png", folder / "wrong.jpg");
  CHECK(read_image(folder / "wrong.jpg").pixels == read_image(image_data / "rgb8.png").pixels);
}
