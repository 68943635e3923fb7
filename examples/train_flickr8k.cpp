// Trains a dual encoder on captioned pictures: projection heads on features that frozen encoders make once, or encoders
// too.
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/image/augment.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "examples/support/clip_rows.hpp"
#include "examples/support/encode.hpp"
#include "examples/support/metrics.hpp"
#include "examples/support/plot.hpp"
#include "examples/support/program.hpp"
#include "examples/support/run_folder.hpp"
#include "examples/support/training.hpp"
#include "src/io/folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

struct Options {
  fs::path data, run, cache, clip_model;
  EncodeOptions encode;
  TrainingOptions training;
  std::string recipe = "default", loss, train_encoders = "none", schedule = "plateau";
  double image_lr = 0;  // 0: the default
  bool resume = false, no_decay_norms = false;
  std::size_t limit = 0;

  bool trains(std::string_view side) const { return train_encoders == side || train_encoders == "both"; }
  bool trains_clip() const { return encode.clip && train_encoders != "none"; }
};

Loss loss_named(const std::string& name) {
  if (name == "soft") return Loss::soft;
  if (name == "soft-detached") return Loss::soft_detached;
  return name == "infonce" ? Loss::info_nce : Loss::siglip;
}

Json as_json(const Augmentation& how) {
  return {{"min_area", how.min_area},
          {"max_stretch", how.max_stretch},
          {"turn", how.turn},
          {"flip", how.flip},
          {"brightness", how.brightness},
          {"contrast", how.contrast},
          {"saturation", how.saturation},
          {"erase", how.erase},
          {"white", how.white}};
}

/// What a resumed run must share with the one it goes on from.
Json configuration(const Options& options, const Program& program, const Captions& data) {
  std::ostringstream type;
  type << program.type();
  std::uint64_t content = 0;  // of the captions and their order
  for (const Caption& caption : data.captions)
    content =
        content_hash(caption.text + '\n' + data.pictures[static_cast<std::size_t>(caption.picture)].name, content);
  // more epochs may be added to a run, unless what its steps do depends on how many there are
  const bool planned = options.training.schedule == Schedule::cosine || options.training.start_scale != 1;
  return {{"data", hex(content)},
          {"text_model", hex(hash_folder(options.encode.text_model))},
          {"image_model", hex(hash_folder(options.encode.image_model))},
          {"dtype", type.str()},
          {"recipe", options.recipe},
          {"loss", options.loss},
          {"train_encoders", options.train_encoders},
          {"epochs", planned ? Json(options.training.epochs) : Json()},
          {"batch", options.training.batch},
          {"micro_batch", options.training.micro_batch},
          {"schedule", options.schedule},
          {"warmup", options.training.warmup},
          {"lr", options.training.lr},
          {"image_lr", options.training.image_lr},
          {"text_lr", options.training.text_lr},
          {"weight_decay", options.training.weight_decay},
          {"encoder_weight_decay", options.training.encoder_weight_decay},
          {"decay_norms", options.training.decay_norms},
          {"clip_norm", options.training.clip_norm},
          {"start_scale", options.training.start_scale},
          {"ema", options.training.ema},
          {"keep_last", options.training.keep_last},
          {"augment", options.encode.augment ? as_json(Augmentation{}) : Json()},
          {"one_caption", options.training.one_caption},
          {"temperature", options.training.temperature},
          {"dropout", options.training.dropout},
          {"linear_heads", options.training.linear_heads},
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

/// RUN/model, with the best weights so far, and RUN/config.json, which says which epoch they are of.
void write_model(const Options& options, Json config, PairEncoder& model, const EpochMetrics& m) {
  if (options.encode.clip)
    save_model(model, options.clip_model, options.run / "model");
  else
    save_model(model, options.encode.text_model, options.encode.image_model, options.run / "model");
  config["model"] = {{"epoch", m.epoch}, {"val_loss", m.val_loss}};
  write_file(options.run / "config.json", config.dump(2) + "\n");
}

void write_splits(const fs::path& run, const Captions& data) {
  Json splits = {{"train", Json::array()}, {"val", Json::array()}, {"test", Json::array()}};
  for (const Picture& picture : data.pictures) splits[name_of(picture.split)].push_back(picture.name);
  write_file(run / "splits.json", splits.dump(1) + "\n");
}

/// The encoders that run on each batch, ready to be trained where they are.
PairEncoder encoders(const Program& program, const Options& options) {
  PairEncoder model;
  if (options.encode.clip) {
    if (!options.trains_clip()) return model;
    model.clip = ClipEncoder::load(options.clip_model, program.device());
    for (const Member& member : members(model.clip->model)) {
      const std::string_view side = clip_side(member.name);
      if (member.trainable) member.tensor->requires_grad(side.empty() || options.trains(side));
    }
    return model;
  }
  if (!options.encode.texts) {
    model.text = TextEncoder::load(options.encode.text_model, program.device());
    requires_grad(*model.text, options.trains("text"));
  }
  if (!options.encode.pictures) {
    Random random(program.seed(), std::uint64_t{1} << 48);  // a part of the stream that training does not reach
    model.image = ImageEncoder::load_to_train(options.encode.image_model, program.device(), random);
    requires_grad(*model.image, options.trains("image"));
  }
  return model;
}

/// Settles which models are used, and what of the options follows from that.
void choose_models(Options& options) {
  options.encode.clip = !options.clip_model.empty();
  if (!options.encode.clip && (options.encode.text_model.empty() || options.encode.image_model.empty()))
    throw WrongUsage("give --text-model and --image-model, or --clip-model");
  if (options.loss.empty()) options.loss = options.trains_clip() ? "infonce" : "soft";
  if (options.image_lr > 0) options.training.image_lr = options.image_lr;
  if (!options.encode.clip) return;
  if (options.recipe == "book") throw WrongUsage("--recipe book is not for --clip-model");
  if (options.training.start_scale != 1)
    throw WrongUsage("--start-scale is not for --clip-model, whose pictures have one size");
  if (options.trains_clip() && options.training.linear_heads)
    throw WrongUsage("--linear-heads goes with heads; --train-encoders trains CLIP without any");
  if (options.trains_clip() && options.loss != "infonce")
    throw WrongUsage("--train-encoders trains CLIP with --loss infonce");
  check(ClipEncoder::is_in(options.clip_model), "--clip-model", "there is no CLIP in ", quoted(options.clip_model),
        ": expected a config.json whose model_type is clip");
  options.encode.text_model = options.encode.image_model = options.clip_model;
  if (options.image_lr == 0) options.training.image_lr = options.training.text_lr;
}

void train(const Program& program, Options& options) {
  catch_interrupts();
  choose_models(options);
  options.training.loss = loss_named(options.loss);
  options.training.schedule = options.schedule == "cosine" ? Schedule::cosine : Schedule::plateau;
  options.training.decay_norms = !options.no_decay_norms;
  options.training.seed = program.seed();
  options.training.type = program.type();
  options.training.device = program.device();
  const bool book = options.recipe == "book";  // whose frozen encoders are in training mode, so they run on each batch
  options.training.drop_last = options.trains("image") && !book;
  options.encode.texts = !options.trains("text") && !book;
  options.encode.pictures = !options.trains("image") && !book;
  options.encode.seed = program.seed();
  if (options.encode.augment && options.encode.pictures)
    throw WrongUsage("--augment goes with --train-encoders image or both: a frozen encoder sees each picture once");
  if (options.training.start_scale != 1 && !options.encode.augment)
    throw WrongUsage("--start-scale goes with --augment");
  check(options.encode.clip || options.trains("image") || has_weights(options.encode.image_model), "--image-model",
        "there are no weights in ", quoted(options.encode.image_model), ": --train-encoders image trains new ones");
  Captions data = read_flickr8k(options.data, {.seed = program.seed(), .keep_duplicates = book});
  if (options.limit > 0) data = limited(data, options.limit);
  for (const Problem& problem : data.problems) program.warn(message(problem));
  program.announce(data.summary());

  options.encode.cache = options.cache.empty() ? options.run / "cache" : options.cache;
  make_folder(options.run);
  check(options.resume || !is_there(options.run / "checkpoints"), "--output", "there is a run in ", quoted(options.run),
        " already: --resume goes on with it; or choose another folder");
  const Pairs pairs = encode(program, data, options.encode);
  if (options.encode.clip) warn_of_cut(program, ClipTokenizer::load(options.clip_model), pairs.captions);
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
  Training training(pairs, encoders(program, options), std::move(train), std::move(val), options.training, options.run,
                    config.dump());
  const bool resumed = options.resume && training.resume([&](const std::string& what) { program.warn(what); });
  if (options.resume && !resumed) program.warn("nothing to resume in " + quoted(options.run) + ": starting afresh");
  if (!resumed)
    fs::remove_all(options.run / "model");  // of a run whose checkpoints were removed, perhaps of other kind

  {
    Progress progress("pairs", training.pairs_left(), program.quiet);
    training.run(
        {.step = [&](std::int64_t count) { progress.advance(count); },
         .epoch =
             [&](const EpochMetrics& m) {
               write_metrics(options.run, training.metrics());
               print_epoch(m);
             },
         .improved = [&](PairEncoder& model, const EpochMetrics& m) { write_model(options, config, model, m); },
         .stop = interrupted});
  }
  PairEncoder best = PairEncoder::load(options.run / "model", training.model(), program.type());
  std::vector<std::int32_t> pictures(data.pictures.size());
  std::iota(pictures.begin(), pictures.end(), 0);
  save_run_index(options.run, Index::build(to(embed_pictures(best, pairs, pictures), Device::cpu())),
                 run_pictures(data));
  const Split judged = captions_of(data, Split::test).empty() ? Split::val : Split::test;
  const Embedded test = embed(best, pairs, captions_of(data, judged));
  std::cout << table(retrieval_recall(test.texts, test.images, test.picture_of), name_of(judged)) << "\nTry:\n  "
            << "search --run " << options.run.string() << " --query \"a dog on the beach\" --grid result.png\n";
}

}  // namespace

int main(int argc, char** argv) {
  Program program("train_flickr8k",
                  "Trains a dual encoder on captioned pictures in any of Flickr8k's layouts: encodes them once with a "
                  "frozen text and image encoder, then trains projection heads, evaluates them and builds an index. "
                  "With --train-encoders it trains encoders too. A CLIP can stand for both encoders.",
                  "train_flickr8k --data Flickr8k --text-model models/distilbert --image-model models/resnet50 "
                  "--output runs/first");
  Options options;
  program.option("--data", &options.data, "folder with the pictures and their captions").required();
  const Option text_model =
      program.option("--text-model", &options.encode.text_model, "folder of a DistilBERT, BERT or sentence encoder");
  const Option image_model = program.option("--image-model", &options.encode.image_model,
                                            "folder of a ResNet; without weights it is trained from scratch");
  program
      .option("--clip-model", &options.clip_model,
              "folder of a CLIP, in place of both: heads on its features, or, with --train-encoders, CLIP itself")
      .excludes(text_model)
      .excludes(image_model);
  program.option("--output", &options.run, "folder of the run").required();
  program
      .option("--recipe", &options.recipe,
              "default, or book, the original step for step: its split by caption rows, in which pictures leak to "
              "validation, and encoders that run on each batch as in training, though nothing trains them")
      .one_of({"default", "book"});
  program
      .option("--loss", &options.loss,
              "soft (default), soft-detached, infonce (default where CLIP is trained) or siglip")
      .one_of({"soft", "soft-detached", "infonce", "siglip"});
  program.option("--train-encoders", &options.train_encoders, "train them too: both (default), image or text")
      .alone_means("both")
      .one_of({"none", "both", "image", "text"});
  program.option("--epochs", &options.training.epochs, "default 4").between(1, 1'000'000);
  program.option("--batch", &options.training.batch, "default 32").between(1, 1 << 20);
  program.option("--one-caption", &options.training.one_caption,
                 "an epoch has each picture once, with one of its captions, drawn anew (default: with each)");
  program.option("--augment", &options.encode.augment,
                 "crop, turn, mirror, tint and partly hide pictures at random while training on them");
  program
      .option("--start-scale", &options.training.start_scale,
              "of the pictures' width and height in the first half of training, such as 0.75; goes with --augment")
      .positive()
      .fraction();
  program
      .option("--micro-batch", &options.training.micro_batch,
              "pairs in memory at once; gradients are those of the whole batch")
      .between(1, 1 << 20);
  program.option("--schedule", &options.schedule, "plateau (default), or cosine over all steps")
      .one_of({"plateau", "cosine"});
  program.option("--warmup", &options.training.warmup, "steps until the full rate, before the cosine; default 0")
      .between(0, 1 << 30);
  program.option("--lr", &options.training.lr, "of the heads and of CLIP's logit scale, default 1e-3").positive();
  program
      .option("--image-lr", &options.image_lr, "of the image encoder, default 1e-4, of CLIP's that of the text encoder")
      .positive();
  program.option("--text-lr", &options.training.text_lr, "of the text encoder, default 1e-5").positive();
  program.option("--weight-decay", &options.training.weight_decay, "of the heads, default 1e-3").not_negative();
  program.option("--encoder-weight-decay", &options.training.encoder_weight_decay, "default 0").not_negative();
  program.option("--no-decay-norms", &options.no_decay_norms, "norms and biases do not decay");
  program.option("--clip-norm", &options.training.clip_norm, "largest norm of all gradients together; default: any")
      .positive();
  program.option("--keep-last", &options.training.keep_last,
                 "OUTPUT/model is the last epoch's, not that of the lowest validation loss");
  program
      .option("--ema", &options.training.ema,
              "evaluate and save a running average of the weights with this decay, such as 0.999")
      .fraction();
  program.option("--temperature", &options.training.temperature, "of the soft losses, default 1").positive();
  program.option("--dropout", &options.training.dropout, "default 0.1").fraction();
  program.option("--linear-heads", &options.training.linear_heads,
                 "for each side one linear projection instead of a projection head");
  program.option("--cache", &options.cache, "folder for the encoders' features (default: OUTPUT/cache)");
  program.option("--resume", &options.resume, "go on from the last checkpoint of OUTPUT");
  program.option("--skip-bad", &options.encode.skip_bad, "leave out pictures that cannot be read");
  program.option("--limit", &options.limit, "use about so many pictures only");
  program.add_compute_options();
  return program.run(argc, argv, [&] { train(program, options); });
}
