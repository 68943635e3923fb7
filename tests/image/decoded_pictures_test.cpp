#include "clip/image/decoded_pictures.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "clip/image/write_png.hpp"
#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

TEST_CASE("decoded pictures are what the preprocessor makes of the files, kept or not", "[image]") {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < 4; ++i) {
    Image image{20 + 9 * i, 30, i == 1 ? Colors::rgba : Colors::rgb, false, {}};
    image.pixels.resize(static_cast<std::size_t>(image.width * image.height * channels_of(image.colors)));
    for (std::size_t at = 0; at < image.pixels.size(); ++at)
      image.pixels[at] = static_cast<std::uint8_t>(at * 7 + at / 50);
    files.emplace_back(folder / (std::to_string(i) + ".png"));
    write_png(files.back(), image);
  }
  const std::filesystem::path broken = folder / "broken.png";
  write_file(broken, "no picture");
  std::vector<std::filesystem::path> all = files;
  all.insert(all.begin() + 2, broken);

  const Preprocessor preprocess(
      {.shorter_side = 16, .crop = {12, 12}, .mean = {0.1f, 0.2f, 0.3f}, .std = {0.5f, 0.6f, 0.7f}});
  const std::vector<float> expected = preprocess(files).to_vector();
  for (const std::int64_t memory : {1 << 20, 12 * 12 * 3 * 2, 0}) {
    DecodedPictures decoded(preprocess, memory);
    std::string reported;
    decoded.add(all, [&](std::size_t i, const std::string& why) { reported += std::to_string(i) + why; });
    CHECK(reported.starts_with("2"));
    CHECK(reported.find("broken.png") != std::string::npos);
    const std::vector<std::int32_t> order = {0, 1, 2, 3}, one = {3};
    CHECK(decoded(order).to_vector() == expected);
    CHECK(decoded(one).to_vector() == std::vector<float>(expected.end() - 12 * 12 * 3, expected.end()));
  }
}
