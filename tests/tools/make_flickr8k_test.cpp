#include <filesystem>
#include <set>
#include <string>

#include "clip/data/flickr8k.hpp"
#include "clip/image/image.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

TEST_CASE("make_flickr8k makes a data set in each layout", "[tools]") {
  std::set<std::string> captions;
  for (const std::string layout : {"kaggle", "token", "karpathy"}) {
    const TemporaryFolder folder;
    const Outcome outcome = run_program("make_flickr8k", {folder / "new", "--layout", layout, "--pictures", "90",
                                                          "--width", "40", "--height", "30", "--seed", "2"});
    CHECK(outcome.error.empty());
    REQUIRE(outcome.status == 0);
    const Captions data = read_flickr8k(folder / "new");
    CHECK(data.problems.empty());
    CHECK(data.missing_pictures.empty());
    CHECK(data.duplicate_captions == 0);
    const std::size_t in_no_split = layout == "kaggle" ? 0 : 2;
    CHECK(data.pictures.size() == 90 - in_no_split);
    CHECK(data.captions.size() == 5 * data.pictures.size());
    CHECK(captions_of(data, Split::test).size() == (layout == "kaggle" ? 45 : 55));
    std::string all;
    for (std::size_t i = 0; i < 400; ++i) all += data.captions[i].text;
    captions.insert(all);
    const Image image = read_image(data.pictures.back().path);
    CHECK(image.width == 40);
    CHECK(image.height == 30);
  }
  CHECK(captions.size() == 1);  // the same in all layouts
  CHECK(run_program("make_flickr8k", {"/dev/null/x", "--pictures", "1"}).status == 1);
  CHECK(run_program("make_flickr8k", {"/dev/null/x", "--seed", "-1"}).status == 2);

  const TemporaryFolder folder;
  const std::vector<std::string> arguments{folder.path(), "--pictures", "8", "--width", "8", "--height", "8"};
  REQUIRE(run_program("make_flickr8k", arguments).status == 0);
  const fs::path picture = *fs::directory_iterator(folder / "Images");
  fs::remove(picture);
  fs::create_directory(picture);
  const Outcome refused = run_program("make_flickr8k", arguments);
  CHECK(refused.status == 1);
  CHECK(contains(refused.error, quoted(picture) + ": it is a folder"));
}

}  // namespace
}  // namespace clip
