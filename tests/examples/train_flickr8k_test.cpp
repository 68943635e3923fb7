// The main job, from a data set to a search, as a user runs it.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/models/dual_encoder.hpp"
#include "clip/models/resnet.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/matmul.hpp"
#include "examples/support/metrics.hpp"
#include "examples/support/run_folder.hpp"
#include "src/io/json.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;

/// Captioned shapes, and two small encoders that know a few of the words; or a small CLIP.
struct Job {
  TemporaryFolder folder;
  std::vector<std::string> models;

  explicit Job(bool clip = false) {
    REQUIRE(
        run_program("make_flickr8k", {folder / "data", "--pictures", "30", "--width", "40", "--height", "30"}).status ==
        0);
    write_small_bert(folder / "bert", {"red", "blue", "black", "square", "circle", "ring", "cross"});
    write_small_resnet(folder / "resnet");
    models = {"--text-model", folder / "bert", "--image-model", folder / "resnet"};
    if (!clip) return;
    write_small_clip(folder / "clip");
    models = {"--clip-model", folder / "clip"};
  }
  std::vector<std::string> command(const std::string& run, const std::vector<std::string>& more) const {
    std::vector<std::string> all = models;
    all.insert(all.end(), {"--data", folder / "data", "--output", folder / run, "--cache", folder / "cache"});
    if (std::find(more.begin(), more.end(), "--epochs") == more.end()) all.insert(all.end(), {"--epochs", "2"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome train(const std::string& run, const std::vector<std::string>& more = {}) const {
    return run_program("train_flickr8k", command(run, more));
  }
  /// All that a finished run knows, but how long it took.
  std::string result(const std::string& run) const {
    std::string all;
    for (const char* file : {"model/model.safetensors", "index/embeddings.safetensors", "config.json"})
      REQUIRE(fs::exists(folder / run / file));
    for (const char* file : {"model/model.safetensors", "model/text/model.safetensors", "model/image/model.safetensors",
                             "model/clip/model.safetensors", "index/embeddings.safetensors", "config.json"})
      if (fs::exists(folder / run / file)) all += read_file(folder / run / file);
    return all + std::regex_replace(read_file(folder / run / "metrics.jsonl"),
                                    std::regex(R"x("(seconds|images_per_second)":[^,}]*)x"), "");
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
  const std::vector<std::string> model = {"--run",    job.folder / "run/model", "--data", job.folder / "data",
                                          "--output", job.folder / "again",     "--json"};
  CHECK(run_program("evaluate", model).out == judged.out);
  CHECK(contains(run_program("evaluate", model).error, "expected a new folder, but "));
  CHECK(run_program("search", {"--run", job.folder / "again", "--query", "a red circle", "-k", "3", "--json"}).out ==
        found.out);
  CHECK(contains(run_program("search", {"--run", job.folder / "run/model", "--query", "a"}).error,
                 "or, where it is a model, --images to search with it"));
  CHECK(contains(
      run_program("search", {"--model", job.folder / "run/model", "--images", job.folder / "data/Images"}).error,
      "got two encoders: search with them by --run"));
  CHECK(
      run_program("search", {"--run", job.folder / "run/model", "--images", job.folder / "data/Images", "--query", "a"})
          .status == 0);
  CHECK(contains(judged.out, "\"queries\": 15"));
}

TEST_CASE("training on a GPU has the losses it has on the CPU", "[train_flickr8k]") {
  if (devices().size() == 1) return;
  const Job job;
  const auto options =
      GENERATE(std::vector<std::string>{},
               std::vector<std::string>{"--train-encoders", "--augment", "--micro-batch", "7", "--epochs", "1"},
               std::vector<std::string>{"--train-encoders", "image", "--dtype", "bf16", "--epochs", "1"},
               std::vector<std::string>{"--train-encoders", "text", "--clip-norm", "1", "--schedule", "cosine"});
  if (std::find(options.begin(), options.end(), "text") != options.end()) {
    // the text encoder of a GPU sees rounded tokens, for which its dropout draws other numbers
    std::string config = read_file(job.folder / "bert/config.json");
    config.insert(1, R"("attention_probs_dropout_prob": 0, "hidden_dropout_prob": 0, )");
    write_file(job.folder / "bert/config.json", config);
  }
  const auto losses = [&](const std::string& run, std::vector<std::string> more) {
    more.insert(more.end(), options.begin(), options.end());
    more.insert(more.end(), {"--dropout", "0.2", "--ema", "0.5"});
    const Outcome trained = job.train(run, more);
    INFO(trained.error);
    REQUIRE(trained.status == 0);
    std::vector<double> all;
    std::istringstream lines(read_file(job.folder / run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
      for (const char* key : {"train_loss", "val_loss"}) all.push_back(nlohmann::json::parse(line)[key]);
    return all;
  };
  const std::vector<double> cpu = losses("cpu", {}), cuda = losses("cuda", {"--device", "cuda"});
  REQUIRE(!cpu.empty());
  REQUIRE(cuda.size() == cpu.size());
  const bool bf16 = std::find(options.begin(), options.end(), "bf16") != options.end();
  for (std::size_t i = 0; i < cpu.size(); ++i) CHECK(cuda[i] == Approx(cpu[i]).epsilon(bf16 ? 0.03 : 1e-3));
  if (!options.empty()) return;
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"evaluate"}, {"search", "--query", "a red circle"}}) {
    const auto hits = [&](const std::string& device) {
      std::vector<std::string> arguments(command.begin() + 1, command.end());
      arguments.insert(arguments.end(), {"--run", job.folder / "cuda", "--json", "--device", device});
      const Outcome outcome = run_program(command[0], arguments);
      INFO(outcome.error);
      REQUIRE(outcome.status == 0);
      return std::regex_replace(outcome.out, std::regex(R"("score": [^,\n]*)"), "");
    };
    CHECK(hits("cuda") == hits("cpu"));
  }
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
  CHECK(contains(job.train("run", {"--resume", "--epochs", "3"}).out, "epoch 3: train "));
  CHECK(job.train("other", {"--resume", "--recipe", "book", "--loss", "siglip"}).status == 0);  // starts afresh
}

TEST_CASE("encoders are trained too, the image encoder from nothing", "[train_flickr8k]") {
  const Job job;
  const std::string given = read_file(job.folder / "bert/model.safetensors");
  fs::remove(job.folder / "resnet/model.safetensors");
  CHECK(contains(job.train("run").error, "--train-encoders image trains new ones"));
  CHECK(contains(job.train("run", {"--start-scale", "0.5"}).error, "--start-scale goes with --augment"));
  const std::vector<std::string> options = {"--train-encoders", "--dtype", "bf16",
                                            "--loss",           "infonce", "--schedule",
                                            "cosine",           "--ema",   "0.9",
                                            "--warmup",         "2",       "--augment",
                                            "--start-scale",    "0.75",    "--linear-heads",
                                            "--one-caption"};
  const Outcome trained = job.train("run", options);
  REQUIRE(trained.status == 0);
  CHECK(contains(trained.out, "test: 15 captions, 3 pictures"));
  std::vector<std::string> longer = options;
  longer.insert(longer.end(), {"--resume", "--epochs", "9"});
  CHECK(contains(job.train("run", longer).error, "was started with another epochs"));  // a cosine over fewer steps
  CHECK(read_file(job.folder / "bert/model.safetensors") == given);  // the run has its own, not a link
  CHECK(read_file(job.folder / "run/model/text/model.safetensors") != given);
  const Outcome judged = run_program("evaluate", {"--run", job.folder / "run", "--split", "test", "--json"});
  CHECK(judged.status == 0);
  CHECK_FALSE(contains(read_file(job.folder / "run/model/model.safetensors"), "fc.weight"));
  CHECK(run_program("embed", {"--model", job.folder / "run/model/image", "--images", job.folder / "data/Images",
                              "--output", job.folder / "images.npy"})
            .status == 0);
}

TEST_CASE("raw pixels are judged as a model is, beside a run that stays as it is", "[train_flickr8k]") {
  const Job job;
  REQUIRE(job.train("run").status == 0);
  const std::string before = job.result("run");
  const Outcome judged = run_program("pixel_baseline", {"--data", job.folder / "data", "--text-model",
                                                        job.folder / "bert", "--output", job.folder / "run"});
  CHECK(judged.status == 0);
  CHECK(contains(judged.out, "test: 15 captions, 3 pictures"));
  CHECK(contains(judged.out, "text to image"));
  CHECK(job.result("run") == before);
  CHECK(fs::exists(job.folder / "run/checkpoints"));
}

TEST_CASE("a run that is killed at any moment ends as one that is not", "[train_flickr8k]") {
  for (const auto& [clip, trained] : {std::pair(false, "both"), {false, "text"}, {false, "none"}, {true, "image"}}) {
    const Job job(clip);
    const std::string epochs = sanitized ? "5" : "12";
    const std::vector<std::string> more = {
        "--train-encoders", trained,   "--epochs", epochs, "--batch",   "16", "--resume",
        "--loss",           "infonce", "--ema",    "0.9",  "--threads", "1"};
    const std::string whole = std::string(trained) + "-whole", parts = std::string(trained) + "-parts";
    REQUIRE(job.train(whole, more).status == 0);
    fs::remove_all(job.folder / "cache");  // so that encoding is interrupted too
    int status = -1, stops = 0;
    for (int milliseconds = 20; status != 0; milliseconds += 1 + milliseconds / (sanitized ? 1 : 3), ++stops) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
      status = interrupt_program(
          "train_flickr8k", job.command(parts, more), [&] { return std::chrono::steady_clock::now() >= end; },
          stops % 3 == 2 ? SIGINT : SIGKILL);
      REQUIRE((status == -1 || status == 0 || stops % 3 == 2));
    }
    INFO(trained << ": stopped " << stops << " times");
    CHECK(stops > 3);
    CHECK(job.result(parts) == job.result(whole));
  }
}

TEST_CASE("a full disk stops a run, which goes on when there is room", "[train_flickr8k]") {
  const Job job;
  const std::vector<std::string> more = {"--train-encoders", "--resume", "--threads", "1"};
  REQUIRE(job.train("whole", more).status == 0);
  std::string command = "trap '' XFSZ; ulimit -f 40; '" CLIP_BIN "/train_flickr8k'";  // 40 KiB a file at most
  for (const std::string& argument : job.command("parts", more)) command += " '" + argument + "'";
  const std::string errors = job.folder / "errors";
  CHECK(std::system(("bash -c \"" + command + " >'" + errors + "' 2>&1\"").c_str()) != 0);
  CHECK(contains(read_file(errors), "error: "));
  CHECK(contains(read_file(errors), "File too large"));
  for (const auto& entry : fs::recursive_directory_iterator(job.folder / "parts"))
    CHECK(entry.path().filename().string().find(".tmp-") == std::string::npos);
  REQUIRE(job.train("parts", more).status == 0);
  CHECK(job.result("parts") == job.result("whole"));
}

TEST_CASE("encoders that run away are reported, and the recipe's own quirks kept", "[train_flickr8k]") {
  const Job job;
  const Outcome lost = job.train("lost", {"--train-encoders", "--image-lr", "1e30", "--epochs", "9"});
  CHECK(lost.status == 1);
  CHECK(contains(lost.error, "is not finite; weights and batch are in"));
  const auto given = SafeTensors::open(job.folder / "resnet");
  REQUIRE(job.train("book", {"--recipe", "book"}).status == 0);
  const auto kept = SafeTensors::open(job.folder / "book/model/image");
  CHECK(kept.read("conv1.weight").to_vector() == given.read("conv1.weight").to_vector());
  CHECK(kept.read("bn1.running_mean").to_vector() != given.read("bn1.running_mean").to_vector());
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

/// That a run is judged by `evaluate` as by the training, and searched with the embeddings of `texts` and `images`.
void check_run(const Job& job, const std::string& run, const Outcome& trained, const std::string& type,
               const std::function<Tensor(const std::string&)>& texts,
               const std::function<Tensor(const std::vector<fs::path>&)>& images) {
  INFO(trained.error);
  REQUIRE(trained.status == 0);
  const double margin = type == "bf16" ? 0.03 : 1e-5;
  const auto json = [&](const std::string& program, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--run", job.folder / run, "--json", "--dtype", type});
    const Outcome outcome = run_program(program, arguments);
    INFO(outcome.error);
    REQUIRE(outcome.status == 0);
    return parse_json(outcome.out, "stdout");
  };
  const Json judged = json("evaluate", {});
  const auto recall = [&](const char* direction) {
    const Json& r = judged[direction];
    return Recall{judged["queries"], judged["gallery"], r["r1"], r["r5"], r["r10"], r["median_rank"]};
  };
  CHECK(contains(trained.out, table({recall("t2i"), recall("i2t")}, "test")));

  std::vector<fs::path> files;
  for (const RunPicture& picture : RunIndex::load(job.folder / run).pictures) files.push_back(picture.path);
  REQUIRE(files.size() == 30);
  const Tensor rows = l2_normalize(images(files));
  const auto check_hits = [&](const Tensor& query, const std::vector<std::string>& arguments) {
    const std::vector<float> cosines = matmul(rows, l2_normalize(query), {.transpose_b = true}).to_vector();
    const Json hits = json("search", arguments)[0]["hits"];
    CHECK(hits[0]["score"].get<double>() == Approx(*std::max_element(cosines.begin(), cosines.end())).margin(margin));
    CHECK(hits[8]["score"].get<double>() < hits[0]["score"].get<double>());
  };
  check_hits(texts("a red circle"), {"--query", "a red circle"});
  check_hits(images({files[3]}), {"--image", files[3].string()});
  CHECK(json("search", {"--image", files[3].string()})[0]["hits"][0]["score"].get<double>() ==
        Approx(1).margin(margin));
}

TEST_CASE("heads are trained on the features of a frozen CLIP", "[train_flickr8k][clip]") {
  const NoGrad guard;
  const Job job(true);
  const std::string given = read_file(job.folder / "clip/model.safetensors");
  const Outcome trained = job.train("run");
  REQUIRE(trained.status == 0);
  CHECK(read_file(job.folder / "run/model/clip/model.safetensors") == given);
  CHECK(contains(read_file(job.folder / "run/config.json"), "\"loss\": \"soft\""));
  CHECK(contains(trained.error, "cut 150 of 150 texts to 20 tokens"));
  const ClipEncoder clip = ClipEncoder::load(job.folder / "clip");
  const DualHeads heads = load_heads(job.folder / "run/model", 16, 16);
  check_run(
      job, "run", trained, "f32",
      [&](const std::string& text) { return heads.text(clip.model.embed_texts(clip.tokenizer.encode({text}))); },
      [&](const std::vector<fs::path>& files) { return heads.image(clip.model.embed_images(clip.preprocess(files))); });
  CHECK(contains(job.train("other", {"--loss", "siglip", "--limit", "20"}).out, "epoch 2: train "));
}

TEST_CASE("a CLIP is trained itself, one side or both", "[train_flickr8k][clip]") {
  const NoGrad guard;
  const Job job(true);
  const std::string file = read_file(job.folder / "clip/model.safetensors");
  const auto given = SafeTensors::open(job.folder / "clip");
  for (const std::string trained : {"both", "image", "text"}) {
    INFO(trained);
    std::vector<std::string> options = {"--train-encoders", trained, "--epochs", "8",
                                        "--text-lr",        "1e-3",  "--lr",     "2e-3"};
    if (trained == "both")
      options.insert(options.end(), {"--dtype", "bf16", "--micro-batch", "7", "--augment", "--ema", "0.5"});
    const Outcome outcome = job.train(trained, options);
    const ClipEncoder clip = ClipEncoder::load(job.folder / trained / "model");
    check_run(
        job, trained, outcome, trained == "both" ? "bf16" : "f32",
        [&](const std::string& text) { return clip.embed_texts(std::vector{text}); },
        [&](const std::vector<fs::path>& files) { return clip.embed_images(files); });
    CHECK(contains(read_file(job.folder / trained / "config.json"), "\"loss\": \"infonce\""));
    const auto tuned = SafeTensors::open(job.folder / trained / "model");
    REQUIRE(tuned.tensors().size() == given.tensors().size());
    std::ptrdiff_t changed = 0;
    for (const TensorInfo& tensor : given.tensors()) {
      INFO(tensor.name);
      const bool text = tensor.name.starts_with("text_"), scale = tensor.name == "logit_scale";
      const bool same = tuned.read(tensor.name).to_vector() == given.read(tensor.name).to_vector();
      CHECK(same == (!scale && trained == (text ? "image" : "text")));
      changed += same ? 0 : 1;
    }
    fs::path checkpoint;  // holds nothing of what is frozen
    for (const auto& entry : fs::directory_iterator(job.folder / trained / "checkpoints"))
      if (entry.path().extension() == ".safetensors") checkpoint = entry.path();
    const auto saved = SafeTensors::open(checkpoint);
    CHECK(std::count_if(saved.tensors().begin(), saved.tensors().end(),
                        [](const TensorInfo& tensor) { return tensor.name.ends_with(".exp_avg"); }) == changed);
    for (const TensorInfo& tensor : saved.tensors()) {
      if (trained == "image") CHECK_FALSE(contains(tensor.name, "text_model."));
      if (trained == "text") CHECK_FALSE(contains(tensor.name, "vision_model."));
    }
    const std::string metrics = read_file(job.folder / trained / "metrics.jsonl");
    const auto loss = [&](std::size_t at) { return std::stod(metrics.substr(metrics.find("train_loss", at) + 12)); };
    CHECK(loss(metrics.rfind("\"epoch\"")) < loss(0));
    CHECK(contains(metrics, "\"lr\":0.001,"));
    CHECK(run_program("search", {"--model", job.folder / trained / "model", "--images", job.folder / "data/Images",
                                 "--query", "a red circle", "--cache", job.folder / "rows"})
              .status == 0);
  }
  CHECK(read_file(job.folder / "clip/model.safetensors") == file);  // runs have their own, not a link
}

TEST_CASE("a CLIP stands for both encoders, or none of them", "[train_flickr8k][clip]") {
  Job job(true);
  CHECK(job.train("run", {"--text-model", job.folder / "bert"}).status == 2);
  CHECK(job.train("run", {"--image-model", job.folder / "resnet"}).status == 2);
  CHECK(job.train("run", {"--train-encoders", "--loss", "siglip"}).status == 2);
  CHECK(job.train("run", {"--recipe", "book"}).status == 2);
  CHECK(job.train("run", {"--train-encoders", "--augment", "--start-scale", "0.5"}).status == 2);
  job.models = {"--clip-model", job.folder / "bert"};
  CHECK(contains(job.train("run").error, "there is no CLIP in "));
  job.models = {"--text-model", job.folder / "bert"};
  const Outcome none = job.train("run");
  CHECK(none.status == 2);
  CHECK(contains(none.error, "give --text-model and --image-model, or --clip-model"));
  CHECK(!fs::exists(job.folder / "run"));
}

}  // namespace
