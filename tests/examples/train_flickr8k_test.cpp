// The main job, from a data set to a search, as a user runs it.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/models/bert.hpp"
#include "clip/models/resnet.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"

namespace {

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;

/// Captioned shapes, and two small encoders that know a few of the words.
struct Job {
  TemporaryFolder folder;
  std::vector<std::string> arguments;

  Job() {
    REQUIRE(
        run_program("make_flickr8k", {folder / "data", "--pictures", "30", "--width", "40", "--height", "30"}).status ==
        0);
    write_small_bert(folder / "bert", {"red", "blue", "black", "square", "circle", "ring", "cross"});
    write_small_resnet(folder / "resnet");
  }
  Outcome train(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> all = {"--data",        folder / "data",   "--text-model", folder / "bert",
                                    "--image-model", folder / "resnet", "--output",     folder / run,
                                    "--cache",       folder / "cache",  "--epochs",     "2"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program("train_flickr8k", all);
  }
};

TEST_CASE("a data set is trained on, evaluated and searched", "[train_flickr8k]") {
  const Job job;
  const Outcome trained = job.train("run");
  REQUIRE(trained.status == 0);
  CHECK(contains(trained.out, "epoch 2: train "));
  CHECK(contains(trained.out, "test: 15 captions, 3 pictures"));
  const std::string metrics = read_file(job.folder / "run/metrics.jsonl");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 2);
  for (const char* file : {"config.json", "splits.json", "loss.svg", "model/config.json", "model/model.safetensors",
                           "model/text/vocab.txt", "model/image/model.safetensors"})
    CHECK(fs::exists(job.folder / "run" / file));

  const Outcome found = run_program("search", {"--run", job.folder / "run", "--query", "a red circle", "-k", "3",
                                               "--grid", job.folder / "grid.png", "--json"});
  REQUIRE(found.status == 0);
  CHECK(contains(found.out, "\"rank\": 3"));
  CHECK(read_file(job.folder / "grid.png").starts_with("\x89PNG"));
  const Outcome judged = run_program("evaluate", {"--run", job.folder / "run", "--split", "test", "--json"});
  REQUIRE(judged.status == 0);
  CHECK(contains(judged.out, "\"queries\": 15"));
}

TEST_CASE("a finished run is not overwritten, and another configuration not mixed in", "[train_flickr8k]") {
  const Job job;
  REQUIRE(job.train("run", {"--quiet"}).status == 0);
  const std::string weights = read_file(job.folder / "run/model/model.safetensors");
  CHECK(contains(job.train("run").error, "there is a run in"));
  CHECK(contains(job.train("run", {"--resume", "--lr", "0.5"}).error, "was started with another lr"));
  CHECK(read_file(job.folder / "run/model/model.safetensors") == weights);
  CHECK(job.train("run", {"--resume"}).status == 0);
  CHECK(read_file(job.folder / "run/model/model.safetensors") == weights);
  CHECK(job.train("other", {"--resume", "--recipe", "book", "--loss", "siglip"}).status == 0);  // starts afresh
}

TEST_CASE("encoders are trained too, the image encoder from nothing", "[train_flickr8k]") {
  const Job job;
  const std::string given = read_file(job.folder / "bert/model.safetensors");
  fs::remove(job.folder / "resnet/model.safetensors");
  CHECK(contains(job.train("run").error, "--train-encoders image trains new ones"));
  const std::vector<std::string> options = {"--train-encoders", "--dtype", "bf16", "--loss",   "infonce", "--schedule",
                                            "cosine",           "--ema",   "0.9",  "--warmup", "2",       "--augment"};
  const Outcome trained = job.train("run", options);
  REQUIRE(trained.status == 0);
  CHECK(contains(trained.out, "test: 15 captions, 3 pictures"));
  CHECK(read_file(job.folder / "bert/model.safetensors") == given);  // the run has its own, not a link
  CHECK(read_file(job.folder / "run/model/text/model.safetensors") != given);
  const Outcome judged = run_program("evaluate", {"--run", job.folder / "run", "--split", "test", "--json"});
  CHECK(judged.status == 0);
  CHECK(run_program("embed", {"--model", job.folder / "run/model/image", "--images", job.folder / "data/Images",
                              "--output", job.folder / "images.npy"})
            .status == 0);
}

TEST_CASE("a picture that cannot be read stops training, or is left out", "[train_flickr8k]") {
  const Job job;
  const fs::path images = job.folder / "data/Images";
  fs::path first;
  for (const auto& entry : fs::directory_iterator(images))
    first = first.empty() ? entry.path() : std::min(first, entry.path());
  write_file(first, "not a picture");
  const Outcome refused = job.train("run");
  CHECK(refused.status == 1);
  CHECK(contains(refused.error, first.filename().string()));
  const Outcome skipped = job.train("run", {"--skip-bad"});
  CHECK(skipped.status == 0);
  CHECK(contains(skipped.error, "left out 1 of 30 pictures"));
  CHECK(contains(job.train("image", {"--train-encoders", "image"}).error, first.filename().string()));
  CHECK(job.train("image", {"--train-encoders", "image", "--skip-bad"}).status == 0);
}

}  // namespace
