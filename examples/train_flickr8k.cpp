// Trains a dual encoder on captioned pictures: frozen encoders once, then projection heads on their features.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "examples/support/encode.hpp"
#include "examples/support/head_training.hpp"
#include "examples/support/metrics.hpp"
#include "examples/support/plot.hpp"
#include "examples/support/program.hpp"
#include "examples/support/run_folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

std::atomic<bool> interrupted = false;
extern "C" void interrupt(int) { interrupted = true; }

struct Options {
  fs::path data, run, cache;
  EncodeOptions encode;
  TrainingOptions training;
  std::string recipe = "default", loss = "soft";
  bool resume = false;
  std::size_t limit = 0;
};

Loss loss_named(const std::string& name) {
  if (name == "soft") return Loss::soft;
  if (name == "soft-detached") return Loss::soft_detached;
  return name == "infonce" ? Loss::info_nce : Loss::siglip;
}

/// What a resumed run must share with the one it goes on from.
Json configuration(const Options& options, const Program& program, const Captions& data) {
  std::ostringstream type;
  type << program.type();
  std::uint64_t content = 0;  // of the captions and their order
  for (const Caption& caption : data.captions)
    content =
        content_hash(caption.text + '\n' + data.pictures[static_cast<std::size_t>(caption.picture)].name, content);
  return {{"data", hex(content)},
          {"text_model", hex(hash_folder(options.encode.text_model))},
          {"image_model", hex(hash_folder(options.encode.image_model))},
          {"dtype", type.str()},
          {"recipe", options.recipe},
          {"loss", options.loss},
          {"batch", options.training.batch},
          {"lr", options.training.lr},
          {"weight_decay", options.training.weight_decay},
          {"temperature", options.training.temperature},
          {"dropout", options.training.dropout},
          {"size", options.training.size},
          {"seed", options.training.seed}};
}

void print_epoch(const EpochMetrics& m) {
  std::ostringstream line;
  line << std::fixed << std::setprecision(4) << "epoch " << m.epoch << ": train " << m.train_loss << ", val "
       << m.val_loss << std::setprecision(1) << ", recall at 10 text to image " << 100 * m.val.text_to_image.r10
       << " %, image to text " << 100 * m.val.image_to_text.r10 << " %\n";
  std::cout << line.str() << std::flush;
}

/// metrics.jsonl and loss.svg.
void write_metrics(const fs::path& run, const std::vector<EpochMetrics>& metrics) {
  std::string lines;
  Series train{"training loss", {}}, val{"validation loss", {}}, t2i{"text to image", {}}, i2t{"image to text", {}};
  for (const EpochMetrics& m : metrics) {
    lines += to_json(m).dump() + '\n';
    train.values.push_back(m.train_loss);
    val.values.push_back(m.val_loss);
    t2i.values.push_back(100 * m.val.text_to_image.r10);
    i2t.values.push_back(100 * m.val.image_to_text.r10);
  }
  write_file(run / "metrics.jsonl", lines);
  write_plot(run / "loss.svg", "Training", "epoch",
             {{"loss", {train, val}}, {"recall at 10, validation, %", {t2i, i2t}, true}});
}

/// RUN/model, with the best heads so far, and RUN/config.json, which says which epoch they are of.
void write_model(const Options& options, Json config, DualHeads& heads, const EpochMetrics& m) {
  const fs::path folder = options.run / "model";
  if (fs::exists(folder / "config.json"))
    save_heads(heads, folder);
  else
    save_dual_encoder(heads, options.encode.text_model, options.encode.image_model, folder);
  config["model"] = {{"epoch", m.epoch}, {"val_loss", m.val_loss}};
  write_file(options.run / "config.json", config.dump(2) + "\n");
}

void write_splits(const fs::path& run, const Captions& data) {
  Json splits = {{"train", Json::array()}, {"val", Json::array()}, {"test", Json::array()}};
  for (const Picture& picture : data.pictures) splits[name_of(picture.split)].push_back(picture.name);
  write_file(run / "splits.json", splits.dump(1) + "\n");
}

void write_index(const fs::path& run, const Captions& data, const Tensor& images) {
  std::vector<RunPicture> pictures;
  for (const Picture& picture : data.pictures) pictures.push_back({fs::absolute(picture.path), picture.split, {}});
  for (const Caption& caption : data.captions)
    pictures[static_cast<std::size_t>(caption.picture)].captions.push_back(caption.text);
  save_run_index(run, Index::build(images), pictures);
}

void train(const Program& program, Options& options) {
  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  options.training.loss = loss_named(options.loss);
  options.training.seed = program.seed();
  const bool book = options.recipe == "book";
  Captions data = read_flickr8k(options.data, {.seed = program.seed(), .keep_duplicates = book});
  if (options.limit > 0) data = limited(data, options.limit);
  for (const Problem& problem : data.problems) program.warn(message(problem));
  program.announce(data.summary());

  options.encode.cache = options.cache.empty() ? options.run / "cache" : options.cache;
  options.encode.stop = [] { return interrupted.load(); };
  fs::create_directories(options.run);
  check(options.resume || !fs::exists(options.run / "checkpoints"), "--output", "there is a run in ",
        quoted(options.run), " already: --resume goes on with it; or choose another folder");
  const Features features = encode(program, data, options.encode);
  write_splits(options.run, data);

  std::vector<std::int32_t> train = captions_of(data, Split::train), val = captions_of(data, Split::val);
  if (book) {  // a fifth of the rows validates, whatever their picture
    train.clear();
    val.clear();
    const std::vector<Split> split = split_as_book(data.captions.size());
    for (std::size_t i = 0; i < split.size(); ++i)
      (split[i] == Split::train ? train : val).push_back(static_cast<std::int32_t>(i));
  }
  check(!train.empty() && !val.empty(), "train_flickr8k", "expected pictures to train on and to validate with, got ",
        train.size(), " and ", val.size(), " captions");
  const Json config = configuration(options, program, data);
  HeadTraining training(features, std::move(train), std::move(val), options.training, options.run, config.dump());
  if (options.resume && !training.resume([&](const std::string& what) { program.warn(what); }))
    program.warn("nothing to resume in " + quoted(options.run) + ": starting afresh");

  {
    Progress progress("pairs", training.pairs_left(), program.quiet);
    training.run({.step = [&](std::int64_t pairs) { progress.advance(pairs); },
                  .epoch =
                      [&](const EpochMetrics& m) {
                        write_metrics(options.run, training.metrics());
                        print_epoch(m);
                      },
                  .improved = [&](DualHeads& heads, const EpochMetrics& m) { write_model(options, config, heads, m); },
                  .stop = [] { return interrupted.load(); }});
  }
  const DualHeads best = load_heads(options.run / "model", features.text.shape(1), features.image.shape(1));
  write_index(options.run, data, project(best.image, features.image));
  const Split judged = captions_of(data, Split::test).empty() ? Split::val : Split::test;
  const Embedded test = embed(best, features, captions_of(data, judged));
  std::cout << table(retrieval_recall(test.texts, test.images, test.picture_of), name_of(judged)) << "\nTry:\n  "
            << "search --run " << options.run.string() << " --query \"a dog on the beach\" --grid result.png\n";
}

}  // namespace

int main(int argc, char** argv) {
  Program program("train_flickr8k",
                  "Trains a dual encoder on captioned pictures in any of Flickr8k's layouts: encodes them once with a "
                  "frozen text and image encoder, then trains projection heads, evaluates them and builds an index.",
                  "train_flickr8k --data Flickr8k --text-model models/distilbert --image-model models/resnet50 "
                  "--output runs/first");
  Options options;
  CLI::App& app = program.app;
  app.add_option("--data", options.data, "folder with the pictures and their captions")->required();
  app.add_option("--text-model", options.encode.text_model, "folder of a DistilBERT, BERT or sentence encoder")
      ->required();
  app.add_option("--image-model", options.encode.image_model, "folder of a ResNet")->required();
  app.add_option("--output", options.run, "folder of the run")->required();
  app.add_option("--recipe", options.recipe,
                 "default, or book: the original's split by caption rows, in which pictures leak to validation")
      ->check(CLI::IsMember({"default", "book"}));
  app.add_option("--loss", options.loss, "soft (default), soft-detached, infonce or siglip")
      ->check(CLI::IsMember({"soft", "soft-detached", "infonce", "siglip"}));
  app.add_option("--epochs", options.training.epochs, "default 4")->check(CLI::Range(1, 1'000'000));
  app.add_option("--batch", options.training.batch, "default 32")->check(CLI::Range(1, 1 << 20));
  app.add_option("--lr", options.training.lr, "default 1e-3")->check(CLI::PositiveNumber);
  app.add_option("--weight-decay", options.training.weight_decay, "default 1e-3")->check(CLI::NonNegativeNumber);
  app.add_option("--temperature", options.training.temperature, "of the soft losses, default 1")
      ->check(CLI::PositiveNumber);
  app.add_option("--dropout", options.training.dropout, "default 0.1")->check(CLI::Range(0.0, 1.0));
  app.add_option("--cache", options.cache, "folder for the encoders' features (default: OUTPUT/cache)");
  app.add_flag("--resume", options.resume, "go on from the last checkpoint of OUTPUT");
  app.add_flag("--skip-bad", options.encode.skip_bad, "leave out pictures that cannot be read");
  app.add_option("--limit", options.limit, "use about so many pictures only");
  program.add_compute_options();
  return program.run(argc, argv, [&] { train(program, options); });
}
