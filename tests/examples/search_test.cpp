#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/image/image.hpp"
#include "clip/models/dual_encoder.hpp"
#include "clip/retrieval/recall.hpp"
#include "examples/support/run_folder.hpp"
#include "tests/models/hash_weights.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/data.hpp"
#include "tests/support/run_program.hpp"

namespace {

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;
using Json = nlohmann::json;

/// What training leaves behind: a small model, and an index of six pictures.
struct Run {
  TemporaryFolder folder;
  std::vector<RunPicture> pictures;

  Run() {
    const NoGrad guard;
    write_small_bert(folder / "bert", {"a", "dog", "on", "beach"});
    write_small_resnet(folder / "resnet");
    DualHeads heads(32, 16, 12, Init::none());
    hash_fill(heads);
    fs::create_directories(folder / "run");
    save_dual_encoder(heads, folder / "bert", folder / "resnet", folder / "run/model");

    const std::vector<std::string> texts = {"a dog", "a beach", "dog on beach", "on a dog", "beach", "a a"};
    std::vector<fs::path> files;
    for (const char* name : {"444.jpg", "420.jpg", "rgb8.png", "gray8.png", "palette.png", "rgba8.png"})
      if (fs::exists(test_data(std::string("image/") + name))) files.push_back(test_data(std::string("image/") + name));
    REQUIRE(files.size() >= 4);
    for (std::size_t i = 0; i < files.size(); ++i)
      pictures.push_back({files[i], i < 2 ? Split::train : Split::test, {texts[i], texts[(i + 3) % 6]}});
    save_run_index(folder / "run", Index::build(encoder().embed_images(files), {.storage = dtype::f16}), pictures);
  }
  DualEncoder encoder() const { return DualEncoder::load(folder / "run/model"); }
  std::string path() const { return folder / "run"; }
};

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_CASE("search finds what the index of the run finds", "[search]") {
  const NoGrad guard;
  const Run run;
  const std::vector<std::string> base = {"--run", run.path(), "--quiet"};
  const std::vector<std::string> query = {"a dog on a beach"};
  const Index index = RunIndex::load(run.path()).images;
  const std::vector<Hit> expected = index.search_all(run.encoder().embed_texts(query), 3).front();

  for (const Device& device : devices()) {
    const Outcome outcome = run_program(
        "search", base + std::vector<std::string>{"--query", query[0], "-k", "3", "--json", "--device", device.name()});
    REQUIRE(outcome.status == 0);
    const Json json = Json::parse(outcome.out);
    REQUIRE(json.size() == 1);
    CHECK(json[0]["query"] == query[0]);
    REQUIRE(json[0]["hits"].size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const Json& hit = json[0]["hits"][i];
      const RunPicture& picture = run.pictures[static_cast<std::size_t>(expected[i].row)];
      CHECK(hit["rank"] == i + 1);
      CHECK(hit["score"].get<float>() == Approx(expected[i].score).epsilon(1e-5));
      CHECK(hit["path"] == picture.path.string());
      CHECK(hit["caption"] == picture.captions[0]);
    }
  }

  const std::string grid = run.folder / "grid.png";
  const Outcome alike = run_program(
      "search", base + std::vector<std::string>{"--image", run.pictures[2].path, "--split", "test", "--grid", grid});
  REQUIRE(alike.status == 0);
  CHECK(alike.out.find("   1   1.000  " + run.pictures[2].path.string()) != std::string::npos);
  CHECK(alike.out.find(run.pictures[0].path.string()) == std::string::npos);  // trained on
  CHECK(read_image(grid).width > 500);

  fs::remove(grid);
  CHECK(
      run_program("search", base + std::vector<std::string>{"--image", run.folder / "no.png", "--grid", grid}).status ==
      1);
  CHECK(run_program("search", base + std::vector<std::string>{"--grid", grid}).status == 2);
  CHECK(run_program("search", {"--run", run.folder / "none", "--query", "a"}).status == 1);
  CHECK(!fs::exists(grid));
}

TEST_CASE("search finds pictures of any folder, and leaves out what it cannot read", "[search]") {
  const NoGrad guard;
  const Run run;
  const fs::path folder = run.folder / "photos";
  fs::create_directories(folder);
  for (const RunPicture& picture : run.pictures) fs::copy_file(picture.path, folder / picture.path.filename());
  const std::vector<std::string> base = {"--run", run.path(), "--quiet", "--images",
                                         folder,  "--query",  "a dog",   "--json"};
  const Outcome outcome = run_program("search", base);
  REQUIRE(outcome.status == 0);
  const std::vector<std::string> query = {"a dog"};
  const std::vector<Hit> expected =
      RunIndex::load(run.path()).images.search_all(run.encoder().embed_texts(query), 1).front();
  const Json hits = Json::parse(outcome.out)[0]["hits"];
  CHECK(hits.size() == run.pictures.size());
  const RunPicture& best = run.pictures[static_cast<std::size_t>(expected[0].row)];
  CHECK(hits[0]["path"] == (folder / best.path.filename()).string());
  CHECK(hits[0]["score"].get<float>() == Approx(expected[0].score).margin(2e-3));  // the run's index is in f16
  CHECK(hits[0]["caption"] == "");

  write_file(folder / "broken.png", "no picture");
  const Outcome refused = run_program("search", base);
  CHECK(refused.status == 1);
  CHECK(refused.error.find("broken.png") != std::string::npos);
  const Outcome skipped = run_program("search", base + std::vector<std::string>{"--skip-bad"});
  CHECK(skipped.status == 0);
  CHECK(skipped.error.find("skipped: ") != std::string::npos);
  CHECK(Json::parse(skipped.out)[0]["hits"].size() == run.pictures.size());
}

TEST_CASE("evaluate leaves out captions of training pictures and of other names", "[evaluate]") {
  const Run run;
  std::size_t own = 0;
  for (const RunPicture& picture : run.pictures)
    for (const std::string& caption : picture.captions) {
      const auto has = [&](const RunPicture& other) {
        return other.split == Split::train && std::ranges::find(other.captions, caption) != other.captions.end();
      };
      own += picture.split == Split::test && std::ranges::none_of(run.pictures, has);
    }
  const Outcome outcome = run_program("evaluate", {"--run", run.path(), "--json", "--no-twins", "--quiet"});
  REQUIRE(outcome.status == 0);
  const Json json = Json::parse(outcome.out);
  CHECK(json["queries"] == own);
  CHECK(own > 0);
  CHECK(json["gallery"] == run.pictures.size() - 2);

  const RunPicture& one = *std::ranges::find(run.pictures, Split::test, &RunPicture::split);
  const Outcome of_one =
      run_program("evaluate", {"--run", run.path(), "--json", "--prefix", one.path.filename().string(), "--quiet"});
  REQUIRE(of_one.status == 0);
  CHECK(Json::parse(of_one.out)["queries"] == one.captions.size());
  CHECK(Json::parse(of_one.out)["gallery"] == json["gallery"]);
  CHECK(run_program("evaluate", {"--run", run.path(), "--prefix", "none", "--quiet"}).status == 1);
}

TEST_CASE("evaluate judges a model by another data set, and makes that a run to be searched", "[evaluate]") {
  const NoGrad guard;
  const Run run;
  const fs::path model = run.folder / "model", data = run.folder / "data", made = run.folder / "made";
  fs::copy(run.path() + "/model", model, fs::copy_options::recursive);
  fs::rename(model / "text", run.folder / "shared");  // as models/clipart has its text encoder
  fs::create_directory_symlink("../shared", model / "text");
  fs::create_directories(data / "Images");
  std::string captions = "image,caption\n", names;
  for (const RunPicture& picture : run.pictures) {
    fs::copy_file(picture.path, data / "Images" / picture.path.filename());
    captions.append(picture.path.filename()).append(",").append(picture.captions[0]).append("\n");
    if (picture.split == Split::test) names.append(picture.path.filename()).append("\n");
  }
  write_file(data / "captions.txt", captions);
  for (const char* list : {"train", "dev"}) write_file(data / ("Flickr_8k." + std::string(list) + "Images.txt"), "");
  write_file(data / "Flickr_8k.testImages.txt", names);

  const std::vector<std::string> judge = {"--data", data, "--json", "--quiet"};
  const Outcome expected = run_program("evaluate", {"--run", run.path(), "--json", "--quiet"});
  const Outcome outcome = run_program("evaluate", judge + std::vector<std::string>{"--run", model, "--output", made});
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  CHECK(Json::parse(outcome.out)["gallery"] == Json::parse(expected.out)["gallery"]);
  CHECK(Json::parse(outcome.out)["queries"] == std::ranges::count(run.pictures, Split::test, &RunPicture::split));
  CHECK(run_program("evaluate", {"--run", made, "--json", "--quiet"}).out == outcome.out);
  CHECK(run_program("evaluate", judge + std::vector<std::string>{"--run", model}).out == outcome.out);
  CHECK(fs::exists(made / "model/text/vocab.txt"));
  CHECK(run_program("search", {"--run", made, "--query", "a dog", "--quiet"}).out.find(data.string()) !=
        std::string::npos);
  CHECK(run_program("search", {"--run", model, "--images", data / "Images", "--query", "a dog", "--quiet"}).status ==
        0);

  const Outcome none = run_program(
      "evaluate", judge + std::vector<std::string>{"--run", model, "--output", run.folder / "no", "--prefix", "none"});
  CHECK(none.status == 1);
  CHECK(!fs::exists(run.folder / "no"));
  const Outcome again = run_program("evaluate", judge + std::vector<std::string>{"--run", model, "--output", made});
  CHECK(again.status == 1);
  CHECK(again.error.find("expected a new folder") != std::string::npos);
  CHECK(run_program("evaluate", {"--run", run.path(), "--output", made}).status == 2);

  fs::remove_all(run.folder / "shared");
  const Outcome dangling = run_program("search", {"--run", model, "--images", data / "Images", "--query", "a dog"});
  CHECK(dangling.status == 1);
  CHECK(dangling.error.find("a link to '../shared', which is not there") != std::string::npos);
}

TEST_CASE("evaluate reports recall in both directions", "[evaluate]") {
  const NoGrad guard;
  const Run run;
  std::vector<fs::path> files;
  std::vector<std::string> texts;
  std::vector<std::int64_t> picture_of;
  for (const RunPicture& picture : run.pictures) {
    if (picture.split != Split::test) continue;
    for (const std::string& caption : picture.captions) {
      texts.push_back(caption);
      picture_of.push_back(std::ssize(files));
    }
    files.push_back(picture.path);
  }
  DualEncoder encoder = run.encoder();
  const RetrievalRecall expected =
      retrieval_recall(encoder.embed_texts(texts), encoder.embed_images(files), picture_of);

  for (const Device& device : devices()) {
    const Outcome outcome =
        run_program("evaluate", {"--run", run.path(), "--json", "--quiet", "--device", device.name()});
    REQUIRE(outcome.status == 0);
    const Json json = Json::parse(outcome.out);
    CHECK(json["split"] == "test");
    CHECK(json["queries"] == texts.size());
    CHECK(json["gallery"] == files.size());
    CHECK(json["t2i"]["r1"] == expected.text_to_image.r1);
    CHECK(json["t2i"]["median_rank"] == expected.text_to_image.median_rank);
    CHECK(json["i2t"]["r5"] == expected.image_to_text.r5);
    CHECK(json["i2t"]["r10"] == expected.image_to_text.r10);
  }
  const Outcome table = run_program("evaluate", {"--run", run.path(), "--quiet"});
  CHECK(table.out.find("text to image") != std::string::npos);
  const Outcome none = run_program("evaluate", {"--run", run.path(), "--split", "val"});
  CHECK(none.status == 1);
  CHECK(none.error.find("val split") != std::string::npos);
}

}  // namespace
