#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/npy.hpp"
#include "clip/models/image_encoder.hpp"
#include "clip/models/text_encoder.hpp"
#include "clip/ops/permute.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"

namespace {

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;

Outcome embed(std::vector<std::string> arguments) { return run_program("embed", arguments); }

/// A folder with a small BERT, and one with a small ResNet.
struct Models {
  TemporaryFolder folder;
  std::string text = folder / "bert", image = folder / "resnet";

  Models() {
    write_small_bert(text, {"a", "dog", "on", "beach"});
    write_small_resnet(image);
  }
};

TEST_CASE("embed writes a row for each line", "[embed]") {
  const NoGrad guard;
  const Models models;
  const std::string lines = models.folder.write("lines.txt", "a dog\r\n\r\nA beach on a dog"),
                    out = models.folder / "o.npy";
  const std::vector<std::string> texts = {"a dog", "", "A beach on a dog"};
  const TextEncoder encoder = TextEncoder::load(models.text);

  for (const Device& device : devices()) {
    const Outcome outcome =
        embed({"--model", models.text, "--text", lines, "--output", out, "--batch", "2", "--device", device.name()});
    REQUIRE(outcome.status == 0);
    CHECK(outcome.out.empty());
    CHECK(contains(outcome.error, device.name() + ", f32, "));
    CHECK(contains(outcome.error, "3 texts"));
    CHECK(compare(read_npy(out), encoder(texts)).relative < (device.is_cuda() ? 1e-5 : 1e-6));
  }

  REQUIRE(embed({"--model", models.text, "--text", lines, "--tokens", out, "--quiet"}).error.empty());
  CHECK(read_npy(out).to_vector<std::int32_t>() ==
        std::vector<std::int32_t>{2, 5, 6, 3, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 2, 5, 8, 7, 5, 6, 3});

  REQUIRE(
      embed({"--model", models.text, "--text", lines, "--output", out, "--pooling", "mean", "--normalize"}).status ==
      0);
  TextEncoder sentence = encoder;
  sentence.pooling = Pooling::mean;
  sentence.normalize = true;
  CHECK(compare(read_npy(out), sentence(texts)).relative < 1e-6);

  models.folder.write("lines.txt", "");
  REQUIRE(embed({"--model", models.text, "--text", lines, "--output", out}).status == 0);
  CHECK(read_npy(out).shape() == Shape{0, 32});
}

TEST_CASE("embed writes a row for each picture, and its path", "[embed]") {
  const NoGrad guard;
  const Models models;
  const fs::path pictures = models.folder / "pictures", data = test_data("image");
  fs::create_directory(pictures);
  fs::copy(data / "rgb8.png", pictures / "b.png");
  fs::copy(data / "444.jpg", pictures / "a.JPG");
  models.folder.write("pictures/notes.txt", "no picture");
  const std::string out = models.folder / "o.npy";
  const std::vector<fs::path> files = {pictures / "a.JPG", pictures / "b.png"};
  ImageEncoder encoder = ImageEncoder::load(models.image);

  for (const Device& device : devices()) {
    REQUIRE(embed({"--model", models.image, "--images", pictures, "--output", out, "--device", device.name()}).status ==
            0);
    CHECK(compare(read_npy(out), encoder(files)).relative < (device.is_cuda() ? 1e-5 : 1e-6));
  }
  CHECK(read_file(out + ".paths.txt") == files[0].string() + "\n" + files[1].string() + "\n");
  REQUIRE(embed({"--model", models.image, "--images", pictures, "--pixels", out}).status == 0);
  CHECK(compare(read_npy(out), permute(encoder.preprocess(files), {0, 3, 1, 2})).relative == 0);

  models.folder.write("pictures/bad.png", "not a picture");
  const std::string list = models.folder.write("list.txt", "pictures/b.png\npictures/bad.png\npictures/a.JPG\n");
  fs::remove(out);
  fs::remove(out + ".paths.txt");
  const Outcome refused = embed({"--model", models.image, "--images", list, "--output", out});
  CHECK(refused.status == 1);
  CHECK(contains(refused.error, "bad.png"));
  CHECK(!fs::exists(out));
  CHECK(!fs::exists(out + ".paths.txt"));
  const Outcome skipped = embed({"--model", models.image, "--images", list, "--output", out, "--skip-bad"});
  CHECK(skipped.status == 0);
  CHECK(contains(skipped.error, "skipped 1 of 3 pictures"));
  CHECK(read_npy(out).shape() == Shape{2, 16});
  CHECK(read_file(out + ".paths.txt") == files[1].string() + "\n" + files[0].string() + "\n");

  fs::remove(out);
  fs::remove(out + ".paths.txt");
  models.folder.write("list.txt", "pictures/bad.png\npictures/none.png\n");
  const Outcome none = embed({"--model", models.image, "--images", list, "--output", out, "--skip-bad"});
  CHECK(none.status == 1);
  CHECK(contains(none.error, "error: [embed] expected pictures that can be read in " + quoted(fs::path(list))));
  CHECK(!fs::exists(out));
  CHECK(!fs::exists(out + ".paths.txt"));
}

TEST_CASE("embed leaves nothing when it is interrupted", "[embed]") {
  const Models models;
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "a dog on a beach and many words that it does not know\n";
  const std::string lines = models.folder.write("lines.txt", text);
  fs::create_directory(models.folder / "out");
  const auto begun = [&] { return !fs::is_empty(models.folder / "out"); };
  const int status = interrupt_program(
      "embed", {"--model", models.text, "--text", lines, "--output", models.folder / "out/o.npy"}, begun);
  CHECK(status == 1);
  CHECK(!begun());
}

TEST_CASE("embed says what is wrong in one line, and writes nothing", "[embed]") {
  const Models models;
  const std::string lines = models.folder.write("lines.txt", "a"), out = models.folder / "o.npy";
  const std::string bad = models.folder.write("bad.txt", "a\nb\xff\n"), list = models.folder.write("list.txt", "x.png");
  const auto fails = [&](int status, const std::string& message, const std::vector<std::string>& arguments) {
    const Outcome outcome = embed(arguments);
    CHECK(outcome.status == status);
    CHECK(outcome.error.starts_with("error: "));
    CHECK(std::count(outcome.error.begin(), outcome.error.end(), '\n') == 1);
    CHECK(contains(outcome.error, message));
    CHECK(!fs::exists(out));
  };
  fails(1, "line 2 of", {"--model", models.text, "--text", bad, "--output", out});
  fails(1, "config.json", {"--model", models.folder / "none", "--text", lines, "--output", out});
  fails(1, "expected resnet for 'model_type'", {"--model", models.text, "--images", list, "--output", out});
  fails(2, "--text or --images", {"--model", models.text, "--output", out});
  fails(2, "--output, --tokens or --pixels", {"--model", models.text, "--text", lines});
  fails(2, "--model is required", {"--text", lines});
  fails(2, "--batch", {"--model", models.text, "--text", lines, "--output", out, "--batch", "0"});
  fails(2, "--seed", {"--model", models.text, "--text", lines, "--output", out, "--seed", "-1"});
  fails(2, "--threads", {"--model", models.text, "--text", lines, "--output", out, "--threads", "4096"});
  for (const char* device : {"tpu", "", "cuda:", "cuda:-1", "cuda:+0", "cuda: 0", "cuda:0x", "cuda:4294967296"})
    fails(1, "expected cpu, cuda or cuda:N",
          {"--model", models.text, "--text", lines, "--output", out, "--device", device});
  fails(2, "another file to write", {"--model", models.text, "--text", lines, "--output", lines});
  fails(2, "another file to write", {"--model", models.text, "--text", lines, "--output", out, "--tokens", out});
  fails(2, "another file to write", {"--model", models.image, "--images", list, "--output", models.folder / "x.png"});
  fs::create_directory(models.folder / "bert/1_Pooling");
  const std::string inner = models.folder.write("bert/1_Pooling/config.json", "{}");
  fails(2, "another file to write", {"--model", models.text, "--text", lines, "--output", inner});
  CHECK(read_file(inner) == "{}");
  fails(1, "cannot write",
        {"--model", models.text, "--text", lines, "--tokens", out, "--output", models.folder / "no/o.npy"});
  fails(1, "it is a folder", {"--model", models.image, "--images", list, "--output", models.folder / "resnet"});
  CHECK(contains(embed({"--help"}).out, "Example:"));
  CHECK(contains(embed({"--version"}).out, "embed"));
}

}  // namespace
