#include "examples/support/picture_batches.hpp"

#include <algorithm>
#include <cmath>

#include "clip/image/write_png.hpp"
#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;

namespace {

/// Pictures of one grey each, which tells their place in the list; the files at `bad` hold no picture.
std::vector<fs::path> grey_pictures(const fs::path& folder, std::size_t count, const std::vector<std::size_t>& bad) {
  std::vector<fs::path> files;
  for (std::size_t i = 0; i < count; ++i) {
    files.push_back(folder / (std::to_string(i) + ".png"));
    write_png(files.back(),
              Image{2, 2, Colors::rgb, false, std::vector<std::uint8_t>(12, static_cast<std::uint8_t>(i))});
  }
  for (const std::size_t i : bad) write_file(files[i], "not a picture");
  return files;
}

}  // namespace

TEST_CASE("pictures come in batches, in order, without those that cannot be read", "[pictures]") {
  const TemporaryFolder folder;
  const Program program("test", "", "");
  const Preprocessor preprocess(Preprocessing{.size = {2, 2}, .rescale = 1});
  const std::vector<std::size_t> bad = {0, 8, 9, 10, 11, 17};  // a whole batch of four is among them
  const std::vector<fs::path> files = grey_pictures(folder.path(), 18, bad);
  Progress progress("pictures", 18, true);
  std::vector<std::size_t> seen;
  for_picture_batches(program, preprocess, files, 4, true, progress, [&](const PictureBatch& some) {
    REQUIRE(some.pixels.shape() == Shape{std::ssize(some.items), 2, 2, 3});
    for (std::size_t k = 0; k < some.items.size(); ++k) {
      CHECK(some.pixels.data<float>()[k * 12] == static_cast<float>(some.items[k]));
      seen.push_back(some.items[k]);
    }
  });
  CHECK(seen == std::vector<std::size_t>{1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16});

  const Tensor rows = picture_rows(program, preprocess, files, 1, true, progress, [](const Tensor& pixels) {
    Tensor grey({pixels.shape(0), 1});
    for (std::int64_t i = 0; i < pixels.shape(0); ++i) grey.mutable_data<float>()[i] = pixels.data<float>()[i * 12];
    return grey;
  });
  for (std::size_t i = 0; i < files.size(); ++i) {
    const float value = rows.data<float>()[i];
    CHECK((std::isnan(value) || value == static_cast<float>(i)));
    CHECK(std::isnan(value) == (std::find(bad.begin(), bad.end(), i) != bad.end()));
  }
  CHECK(throws_with([&] { for_picture_batches(program, preprocess, files, 4, false, progress, [](const auto&) {}); },
                    "0.png"));
  for_picture_batches(program, preprocess, {}, 4, false, progress, [](const auto&) { FAIL("there is none"); });
}
