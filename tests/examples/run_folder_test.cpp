#include "examples/support/run_folder.hpp"

#include <filesystem>
#include <limits>

#include "clip/io/file.hpp"
#include "examples/support/plot.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

const Tensor rows = Tensor::of({{1, 0}, {0, 1}, {1, 1}});
const std::vector<RunPicture> pictures = {{"a/b.jpg", Split::train, {"one", "zw\xc3\xb6lf \"two\"\n"}},
                                          {"c.png", Split::test, {}},
                                          {"d.png", Split::test, {"three"}}};

TEST_CASE("the index of a run is saved and loaded with its pictures", "[run]") {
  const TemporaryFolder run;
  save_run_index(run.path(), Index::build(rows), pictures);
  const RunIndex index = RunIndex::load(run.path());
  REQUIRE(index.pictures.size() == 3);
  CHECK(index.images.size() == 3);
  CHECK(index.pictures[0].path == "a/b.jpg");
  CHECK(index.pictures[0].captions == pictures[0].captions);
  CHECK(index.pictures[1].captions.empty());
  const RunIndex tested = index.only(Split::test);
  REQUIRE(tested.pictures.size() == 2);
  CHECK(tested.pictures[tested.images.search(Tensor::of({0, 1}), 1)[0].row == 0 ? 0 : 1].path == "c.png");
  CHECK(index.only(Split::val).images.size() == 0);
  CHECK(throws_with([&] { save_run_index(run.path(), Index::build(rows), {}); }, "a picture for each of 3 rows"));
}

TEST_CASE("a damaged index of a run is refused", "[run]") {
  const TemporaryFolder run;
  CHECK(throws_with([&] { RunIndex::load(run.path()); }, "is the training run finished?"));
  save_run_index(run.path(), Index::build(rows), pictures);
  const auto refused = [&](const std::string& json, const std::string& message) {
    run.write("index/pictures.json", json);
    CHECK(throws_with([&] { RunIndex::load(run.path()); }, message));
  };
  refused("[]", "has 0 pictures, but the index beside it 3");
  refused("{}", "expected an array");
  refused("[", "is not valid JSON");
  refused(R"([{"path": 1, "split": "test", "captions": []}])", "'path', 'split' and 'captions' for picture 0");
  refused(R"([{"path": "a", "split": "tset", "captions": []}])", "expected train, val or test, got 'tset'");
  refused(R"([{"path": "a", "split": "test", "captions": [1]}])", "texts as 'captions'");
}

TEST_CASE("a plot has every curve, tick and name", "[plot]") {
  const TemporaryFolder folder;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  write_plot(folder / "loss.svg", "a < b", "epoch",
             {{"loss", {{"train", {2, 1.5, nan, 1}}, {"validation", {}}}, false}, {"recall", {{"R@1", {0.25}}}, true}});
  const std::string svg = read_file(folder / "loss.svg");
  const auto count = [&](const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1)) ++found;
    return found;
  };
  CHECK(count("<polyline") == 3);
  CHECK(count("<circle") == 4);  // what is not finite has no point
  CHECK(count("nan") == 0);
  CHECK(count("a &lt; b") == 1);
  CHECK(count(">validation<") == 1);
  CHECK(count(">epoch<") == 2);
  for (const char* tick : {">1.2<", ">2<", ">0.05<", ">0<"}) {
    INFO(tick);
    CHECK(count(tick) >= 1);
  }
}

}  // namespace
