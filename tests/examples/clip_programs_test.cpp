// zero_shot, clip_score, guide, embed and search with a CLIP model, as a user runs them.
#include <sys/stat.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/image/image.hpp"
#include "clip/io/npy.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/matmul.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "src/io/json.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

std::string ppm(int seed) {
  std::string text = "P6 40 36 255\n";
  for (int i = 0; i < 40 * 36 * 3; ++i) text += static_cast<char>((i / (7 + seed) * (seed + 3)) % 251);
  return text;
}

struct Model {
  TemporaryFolder folder;
  std::string model = folder / "clip", images = folder / "images";
  std::vector<fs::path> files;

  Model() {
    write_small_clip(model);
    fs::create_directories(images);
    for (int i = 0; i < 4; ++i) {
      const std::string name = std::string("images/").append(1, static_cast<char>('a' + i)).append(".ppm");
      files.push_back(folder.write(name, ppm(i)));
    }
  }
  Outcome run(const std::string& program, std::vector<std::string> more) const {
    more.insert(more.begin(), {"--model", model, "--quiet"});
    return run_program(program, more);
  }
  Json json(const std::string& program, std::vector<std::string> more) const {
    more.emplace_back("--json");
    const Outcome outcome = run(program, more);
    INFO(outcome.error);
    REQUIRE(outcome.status == 0);
    return parse_json(outcome.out, "stdout");
  }
};

TEST_CASE("embed, zero_shot and clip_score agree with the library", "[clip]") {
  const NoGrad guard;
  const Model m;
  const ClipEncoder encoder = ClipEncoder::load(m.model);
  const Tensor images = encoder.embed_images(m.files);
  const std::vector<std::string> lines = {"The cat", "", "a cat & the cat", "x"};
  const std::string text = m.folder.write("lines.txt", "The cat\n\na cat & the cat\nx\n"), out = m.folder / "o.npy";

  REQUIRE(m.run("embed", {"--text", text, "--output", out, "--normalize", "--batch", "3"}).status == 0);
  CHECK(compare(read_npy(out), encoder.embed_texts(lines)).relative < 1e-6);
  REQUIRE(m.run("embed", {"--text", text, "--output", out}).status == 0);
  CHECK(compare(read_npy(out), encoder.model.embed_texts(encoder.tokenizer.encode(lines))).relative < 1e-6);
  REQUIRE(m.run("embed", {"--text", text, "--tokens", out}).status == 0);
  CHECK(read_npy(out).shape(0) == 4);
  CHECK(read_npy(out).to_vector<std::int32_t>()[5] == 517);
  REQUIRE(m.run("embed", {"--images", m.images, "--output", out, "--normalize"}).status == 0);
  CHECK(compare(read_npy(out), images).relative < 1e-6);
  CHECK(m.run("embed", {"--text", text, "--output", out, "--pooling", "cls"}).status == 2);
  const std::string longer = m.folder.write("long.txt", "a\na a a a a a a a a a a a a a a a a a a a a a a\n");
  CHECK(contains(m.run("embed", {"--text", longer, "--tokens", out}).error, "cut 1 of 2 texts to 20 tokens"));

  const std::string labels = m.folder.write("labels.txt", "cat\nthe dog\nx\n");
  const auto classes = [&](const std::vector<std::string>& templates) {
    std::vector<Tensor> rows;
    for (const std::string label : {"cat", "the dog", "x"}) {
      Tensor row = zeros({1, 16});
      for (std::string one : templates) {
        one.replace(one.find("{}"), 2, label);
        row = row + encoder.embed_texts(std::vector<std::string>{one});
      }
      rows.push_back(l2_normalize(row));
    }
    return concat(rows);
  };
  const auto check_zero_shot = [&](const std::vector<std::string>& templates, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--images", m.images, "--labels", labels});
    const Json all = m.json("zero_shot", arguments);
    const Tensor cosines = matmul(images, classes(templates), {.transpose_b = true});
    const Tensor p = softmax(scale(cosines, std::exp(2.0f)));
    REQUIRE(all.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(all[i]["path"] == m.files[i].string());
      REQUIRE(all[i]["predictions"].size() == 3);
      double before = 1;
      for (const Json& one : all[i]["predictions"]) {
        const std::size_t label = one["label"] == "cat" ? 0 : one["label"] == "x" ? 2 : 1;
        CHECK(one["probability"].get<double>() == Approx(p.data<float>()[3 * i + label]).margin(1e-5));
        CHECK(one["score"].get<double>() == Approx(cosines.data<float>()[3 * i + label]).margin(1e-5));
        CHECK(one["probability"].get<double>() <= before);
        before = one["probability"].get<double>();
      }
    }
  };
  for (const Device& device : devices()) check_zero_shot({"a photo of a {}."}, {"--device", device.name()});
  check_zero_shot({"the {}", "{} a", "{}"},
                  {"--template", "the {}", "--templates", m.folder.write("t.txt", "{} a\n\n{}\n")});
  CHECK(m.json("zero_shot", {"--images", m.images, "--labels", labels, "-k", "1"})[0]["predictions"].size() == 1);
  const Outcome plain = m.run("zero_shot", {"--images", m.images, "--labels", labels});
  CHECK(contains(plain.out, " %  cat\n"));
  CHECK(m.run("zero_shot", {"--images", m.images, "--labels", labels, "--template", "x"}).status == 2);
  CHECK(contains(m.run("zero_shot", {"--images", m.images, "--labels", m.folder.write("none", " \n")}).error,
                 "expected one a line in "));
  const std::string no_place = m.folder.write("wrong.txt", "a {}\n \nno place\n");
  CHECK(contains(m.run("zero_shot", {"--images", m.images, "--labels", labels, "--templates", no_place}).error,
                 "wrong.txt', where the label goes, got 'no place'"));

  const Tensor rows = encoder.embed_texts(lines);
  const auto expected = clip_score(images, rows).to_vector(), cosines = sum(images * rows, {1}).to_vector();
  for (const Device& device : devices()) {
    const Json scores = m.json("clip_score", {"--images", m.images, "--captions", text, "--device", device.name()});
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(scores[i]["caption"] == lines[i]);
      CHECK(scores[i]["score"].get<double>() == Approx(expected[i]).margin(1e-3));
      CHECK(scores[i]["logit"].get<double>() == Approx(cosines[i] * std::exp(2.0f)).margin(1e-4));
    }
  }
  CHECK(contains(m.run("clip_score", {"--images", m.images, "--captions", text}).out, "  mean of 4\n"));
  CHECK(contains(m.run("clip_score", {"--images", m.images, "--captions", labels}).error, "got 4 pictures of "));
}

TEST_CASE("search --model indexes a folder of pictures, and then only what changed", "[clip]") {
  const NoGrad guard;
  const Model m;
  const ClipEncoder encoder = ClipEncoder::load(m.model);
  const auto search = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--images", m.images});
    return m.json("search", more)[0]["hits"];
  };
  const Json hits = search({"--query", "the cat"});
  REQUIRE(hits.size() == 4);
  const Tensor cosines = matmul(encoder.embed_images(m.files), encoder.embed_texts(std::vector<std::string>{"the cat"}),
                                {.transpose_b = true});
  double best = -1;
  for (const float c : cosines.to_vector()) best = std::max(best, static_cast<double>(c));
  CHECK(hits[0]["score"].get<double>() == Approx(best).margin(1e-5));
  CHECK(search({"--image", m.files[2].string(), "-k", "1"})[0]["path"] == m.files[2].string());

  const auto indexed = [&](std::vector<std::string> more) {  // what it says of its work
    more.insert(more.begin(), {"--model", m.model, "--images", m.images, "--query", "x"});
    return run_program("search", more).error;
  };
  const auto parts = [&] {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(m.images) / ".clipcore"))
      count += entry.is_regular_file() && entry.path().extension() == ".safetensors";
    return count;
  };
  const std::size_t first = parts();
  CHECK(first > 0);
  CHECK(contains(indexed({}), "4 pictures"));
  CHECK(parts() == first);  // nothing new
  m.folder.write("images/e.ppm", ppm(9));
  fs::remove(m.files[0]);
  CHECK(search({"--query", "the cat"}).size() == 4);
  CHECK(parts() == first + 1);
  m.folder.write("images/bad.ppm", "P6 9");
  CHECK(contains(indexed({}), "bad.ppm"));
  CHECK(contains(indexed({"--skip-bad"}), "skipped 1 of 5 pictures"));
  CHECK(contains(indexed({"--skip-bad", "--cache", m.folder / "elsewhere"}), "skipped 1 of 5 pictures"));
  CHECK(fs::exists(m.folder / "elsewhere"));

  CHECK(m.run("search", {"--query", "x"}).status == 2);
  CHECK(m.run("search", {"--images", m.images, "--query", ""}).status == 2);  // rather than wait for stdin
  CHECK(run_program("search", {"--query", "x"}).status == 2);
  CHECK(m.run("search", {"--run", m.model, "--query", "x"}).status == 2);
  CHECK(m.run("search", {"--images", m.images, "--split", "test", "--query", "x"}).status == 2);
}

TEST_CASE("search --model sees what a picture shows now, and leaves out what is none", "[clip]") {
  const Model m;
  const auto search = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--model", m.model, "--images", m.images, "--image", m.files[1].string()});
    return run_program("search", more);
  };
  REQUIRE(search({}).status == 0);
  const auto time = fs::last_write_time(m.files[0]);
  m.folder.write("images/a.ppm", ppm(1));  // as large as what was there, and as old
  fs::last_write_time(m.files[0], time);
  const Json hits = m.json("search", {"--images", m.images, "--image", m.files[1].string()})[0]["hits"];
  CHECK(hits[1]["score"].get<double>() == Approx(1));

  m.folder.write("images/empty.png", "");
  m.folder.write("images/huge.ppm", "P6 60000 60000 255\n");
  m.folder.write("images/text.jpg", "dear");
  m.folder.write("images/notes.txt", "no picture by its name");
  fs::create_directory(m.folder / "images/folder.jpg");
  fs::create_symlink("nowhere", m.folder / "images/link.png");
  REQUIRE(::mkfifo((m.folder / "images/pipe.gif").c_str(), 0600) == 0);
  const Outcome skipped = search({"--skip-bad"});
  CHECK(skipped.status == 0);
  CHECK(contains(skipped.error, "skipped 6 of 10 pictures"));
  for (const char* name : {"empty.png", "huge.ppm", "text.jpg", "folder.jpg", "link.png", "pipe.gif"}) {
    CHECK(contains(skipped.error, name));
    const std::string list = m.folder.write("list.txt", std::string("images/").append(name).append("\n"));
    const Outcome alone = run_program("search", {"--model", m.model, "--images", list, "--query", "x"});
    CHECK(alone.status == 1);
    CHECK(contains(alone.error, name));
  }
}

TEST_CASE("search --model goes on where it was killed", "[clip]") {
  const Model m;
  for (int i = 0; i < 700; ++i) m.folder.write("images/" + std::to_string(i) + ".ppm", ppm(i));
  const std::vector<std::string> arguments = {"--model", m.model, "--images", m.images, "--query", "the cat", "--json"};
  const auto parts = [&] {
    std::vector<fs::path> found;
    std::error_code gone;  // the program works in this folder
    for (fs::recursive_directory_iterator at(fs::path(m.images) / ".clipcore", gone), end; at != end;
         at.increment(gone))
      if (at->path().extension() == ".safetensors") found.push_back(at->path());
    return found;
  };
  interrupt_program(
      "search", arguments, [&] { return !parts().empty(); }, SIGKILL);
  const std::vector<fs::path> kept = parts();
  REQUIRE(!kept.empty());
  const Outcome outcome = run_program("search", arguments);
  CHECK(outcome.status == 0);
  CHECK(parts().size() == 2);
  CHECK(fs::exists(kept[0]));
  fs::remove_all(fs::path(m.images) / ".clipcore");
  CHECK(run_program("search", arguments).out == outcome.out);
}

TEST_CASE("guide raises the score of its picture", "[clip]") {
  const Model m;
  const std::string out = m.folder / "out.png";
  const Outcome outcome = m.run("guide", {"--prompt", "the cat", "--output", out, "--steps", "20", "--size", "48"});
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  float before = 0, after = 0;
  REQUIRE(std::sscanf(outcome.out.c_str(), "cosine with the prompt: %f before, %f after", &before, &after) == 2);
  CHECK(after > before + 0.05f);
  CHECK(read_image(out).width == 48);
  REQUIRE(m.run("guide", {"--prompt", "x", "--output", out, "--steps", "1", "--init", m.files[0].string()}).status ==
          0);
  CHECK((read_image(out).width == 40 && read_image(out).height == 36));
  fs::remove(out);
  CHECK(m.run("guide", {"--prompt", "x", "--output", m.folder / "no/x.png"}).status == 1);
}

TEST_CASE("the programs for CLIP name what is wrong with a model", "[clip]") {
  const Model m;
  const auto error = [&] { return m.run("clip_score", {"--images", m.images, "--captions", m.model}).error; };
  const auto zero_shot = [&] {
    return m.run("zero_shot", {"--images", m.images, "--labels", m.folder.write("l.txt", "x\n")}).error;
  };
  CHECK(contains(error(), "error: "));
  fs::remove(fs::path(m.model) / "merges.txt");
  CHECK(contains(zero_shot(), "expected merges.txt, or tokenizer.json, in "));
  m.folder.write("clip/config.json", R"({"model_type": "clip", "text_config": {"hidden_act": "swish"}})");
  CHECK(contains(zero_shot(), "'text_config.hidden_act' in "));
  m.folder.write("clip/config.json", R"({"model_type": "bert"})");
  CHECK(contains(zero_shot(), "expected clip for 'model_type' in "));
}

}  // namespace
}  // namespace clip
