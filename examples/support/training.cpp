#include "examples/support/training.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/gather.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/view.hpp"
#include "examples/support/metrics.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

DualHeads new_heads(std::int64_t text_size, std::int64_t image_size, const TrainingOptions& options, Random& random) {
  DualHeads heads(text_size, image_size, options.size, random, options.dropout);
  if (options.linear_heads) {
    heads.text.make_linear();
    heads.image.make_linear();
  }
  if (options.loss == Loss::info_nce || options.loss == Loss::siglip)
    heads.logit_scale = Tensor::of({options.loss == Loss::siglip ? std::log(10.0) : std::log(1 / 0.07)});
  if (options.loss == Loss::siglip) heads.logit_bias = Tensor::of({-10});
  for (const Member& member : members(heads)) *member.tensor = to(*member.tensor, options.device);
  requires_grad(heads);
  return heads;
}

PairEncoder new_model(const Pairs& pairs, PairEncoder model, const TrainingOptions& options, Random& random) {
  if (model.clip) {
    check(options.loss == Loss::info_nce, "train", "expected InfoNCE as the loss of a CLIP");
    return model;
  }
  const Features& features = pairs.features;
  model.heads = new_heads(features.text.defined() ? features.text.shape(1) : model.text_size(),
                          features.image.defined() ? features.image.shape(1) : model.image_size(), options, random);
  return model;
}

/// Parameters that are trained, by their rates and decays.
std::vector<AdamW::Group> groups_of(PairEncoder& model, const TrainingOptions& options) {
  std::vector<AdamW::Group> groups;
  const auto add = [&](const std::vector<Tensor>& tensors, double lr, double weight_decay) {
    AdamW::Group all{{}, {.lr = lr, .weight_decay = weight_decay}}, undecayed{{}, {.lr = lr, .weight_decay = 0}};
    for (const Tensor& parameter : tensors)
      if (parameter.needs_grad())
        (options.decay_norms || parameter.rank() > 1 ? all : undecayed).parameters.push_back(parameter);
    for (AdamW::Group& group : {std::ref(all), std::ref(undecayed)})
      if (!group.parameters.empty()) groups.push_back(std::move(group));
  };
  if (model.heads) add(parameters(*model.heads), options.lr, options.weight_decay);
  if (model.image) add(parameters(*model.image), options.image_lr, options.encoder_weight_decay);
  if (model.text) add(parameters(*model.text), options.text_lr, options.encoder_weight_decay);
  if (!model.clip) return groups;
  std::vector<Tensor> text, image;
  for (const Member& member : members(model.clip->model))
    if (!clip_side(member.name).empty()) (clip_side(member.name) == "text" ? text : image).push_back(*member.tensor);
  add(image, options.image_lr, options.encoder_weight_decay);
  add(text, options.text_lr, options.encoder_weight_decay);
  add({model.logit_scale()}, options.lr, 0);
  return groups;
}

/// Whether training changes it: all but the weights of what is frozen.
bool changes(const Member& member) { return !member.trainable || member.tensor->needs_grad(); }

Sampler sampler_of(const Pairs& pairs, std::vector<std::int32_t> train, const TrainingOptions& options) {
  std::vector<std::int32_t> pictures;
  if (options.one_caption)
    for (const std::int32_t caption : train) pictures.push_back(pairs.features.picture.data<std::int32_t>()[caption]);
  SamplerOptions how{.batch = options.batch, .seed = options.seed};
  how.drop_last = options.drop_last && Sampler(train, how, pictures).items() >= options.batch;
  return Sampler(std::move(train), how, std::move(pictures));
}

/// The same model with its own copy of all tensors, which are constants.
PairEncoder copy_of(PairEncoder model) {
  for (const Member& member : members(model)) *member.tensor = member.tensor->clone();
  return model;
}

/// What of a model `average` follows training.
RunningAverage averages_of(PairEncoder& average, PairEncoder& model, const TrainingOptions& options) {
  std::vector<Tensor> means, values;
  const std::vector<Member> all = members(average), now = members(model);
  for (std::size_t i = 0; options.ema > 0 && i < now.size(); ++i)
    if (changes(now[i])) {
      means.push_back(*all[i].tensor);
      values.push_back(now[i].tensor->detach());
    }
  return {std::move(means), std::move(values)};
}

}  // namespace

Training::Training(const Pairs& pairs, PairEncoder encoders, std::vector<std::int32_t> train,
                   std::vector<std::int32_t> val, const TrainingOptions& options, const std::filesystem::path& run,
                   const std::string& configuration)
    : pairs_(pairs),
      val_(std::move(val)),
      options_(options),
      run_(run),
      configuration_(configuration),
      checkpoints_(run / "checkpoints"),
      random_(options.seed),
      model_(new_model(pairs, std::move(encoders), options, random_)),
      averaged_(options.ema > 0 ? copy_of(model_) : model_),
      optimizer_(groups_of(model_, options)),
      average_(averages_of(averaged_, model_, options)),
      sampler_(sampler_of(pairs, std::move(train), options)),
      losses_({options.device.is_cuda() ? 64 : 1}, dtype::f32, options.device) {
  check(options.schedule == Schedule::plateau || options.warmup <= steps(), "--warmup", "expected at most the ",
        steps(), " steps of the run, got ", options.warmup);
  for (std::size_t group = 0; group < optimizer_.groups(); ++group) rates_.push_back(optimizer_.lr(group));
}

Tensor Training::loss(const Tensor& text, const Tensor& image, const Tensor& picture, const PairEncoder& model) const {
  const Tensor pictures = to(picture, text.device());
  switch (options_.loss) {
    case Loss::soft: return soft_target_loss(text, image, {.temperature = options_.temperature});
    case Loss::soft_detached:
      return soft_target_loss(text, image, {.temperature = options_.temperature, .detach_targets = true});
    case Loss::info_nce: return info_nce(l2_normalize(text), l2_normalize(image), model.logit_scale(), pictures);
    case Loss::siglip: break;
  }
  return siglip_loss(l2_normalize(text), l2_normalize(image), model.logit_scale(), model.heads->logit_bias, pictures);
}

/// Both sides of a batch in the shared space, as in training.
std::pair<Tensor, Tensor> Training::forward(PairEncoder model, const Inputs& in, Random& random) const {
  if (model.text) model.text = cast(*model.text, options_.type);
  if (model.image) model.image = cast(*model.image, options_.type);
  if (model.clip)
    for (const Member& member : members(model.clip->model))  // not the tower that is frozen, and does not run
      if (member.tensor->needs_grad()) *member.tensor = to(*member.tensor, options_.type);
  const Tensor text = in.batch.text.defined()
                          ? in.batch.text
                          : slice(model.text_features(in.tokens, &random), 0, in.batch.picture.numel());
  const Tensor image = in.batch.image.defined() ? in.batch.image : model.image_features(in.pixels, Mode::training);
  Tensor t = model.project_texts(text, &random), v = model.project_images(image, &random);
  return {std::move(t), std::move(v)};
}

/// The gradients of a batch; its loss.
Tensor Training::at_once(const Inputs& in, Random& random) const {
  const auto [text, image] = forward(model_, in, random);
  const Tensor value = loss(text, image, in.batch.picture, model_);
  backward(value);
  return value.detach();
}

/// The gradients of the whole batch with the graph of a part of it in memory (Gao et al. 2021, "Scaling deep
/// contrastive learning batch size under memory limited setup"): embed all parts; the loss, and its gradient with
/// respect to the embeddings; then each part once more, with the same dropout, and backward from its share.
Tensor Training::part_by_part(const Inputs& in, std::span<const std::int32_t> captions, Random& random) const {
  const auto rows = [](const Tensor& t, std::size_t first, std::size_t count) {
    if (!t.defined()) return Tensor();
    const std::int64_t size = t.numel() / t.shape(0);
    return t.view(static_cast<std::int64_t>(first) * size, t.shape().with(0, static_cast<std::int64_t>(count)));
  };
  struct Part {
    Inputs in;
    std::size_t first, count;
    Random before;
  };
  std::vector<Part> parts;
  std::vector<Tensor> texts, images;
  for (std::size_t first = 0; first < captions.size(); first += static_cast<std::size_t>(options_.micro_batch)) {
    const std::size_t count = std::min(captions.size() - first, static_cast<std::size_t>(options_.micro_batch));
    const auto some = [&](const Tensor& t) { return rows(t, first, count); };
    parts.push_back({{{some(in.batch.text), some(in.batch.image), some(in.batch.picture)},
                      some(in.pixels),
                      in.batch.text.defined() ? Tokens() : model_.tokens(pairs_.texts(captions.subspan(first, count)))},
                     first,
                     count,
                     random});
    const NoGrad guard;
    PairEncoder model = model_;
    for (const Member& member : members(model))  // running statistics move once, in the second pass
      if (!member.trainable) *member.tensor = member.tensor->clone();
    const auto [text, image] = forward(model, parts.back().in, random);
    texts.push_back(text);
    images.push_back(image);
  }
  const Tensor text = concat(texts).requires_grad(), image = concat(images).requires_grad();
  const Tensor value = loss(text, image, in.batch.picture, model_);
  backward(value);
  for (Part& part : parts) {
    const auto [t, v] = forward(model_, part.in, part.before);
    if (t.needs_grad()) backward(t, rows(text.grad(), part.first, part.count));
    if (v.needs_grad()) backward(v, rows(image.grad(), part.first, part.count));
  }
  return value.detach();
}

/// The gradients of a batch, then what `move` does with them, which needs its loss and how much of the running average
/// is to be new; the loss. All that a GPU does in a step is here. It is one graph for each shape of the inputs, unless
/// it goes part by part: so whatever changes from step to step, beside what tensors hold, is an input.
Tensor Training::pass(std::span<const std::int32_t> captions, Graphs& graphs,
                      const std::function<void(const Tensor& loss, const Tensor& rest)>& move) {
  const Features& features = pairs_.features;
  const bool parts = options_.micro_batch > 0 && options_.micro_batch < std::ssize(captions);
  const Tensor rows = Tensor::from(captions, {std::ssize(captions)}), pictures = gather(features.picture, 0, rows);
  Tensor pixels;
  if (!features.image.defined())
    pixels = pairs_.training_pixels(pictures.to_vector<std::int32_t>(), step_,
                                    2 * step_ < steps() ? options_.start_scale : 1);
  Tokens tokens;
  if (!features.text.defined() && !parts) tokens = model_.tokens_for_graphs(pairs_.texts(captions));
  const Tensor place = Tensor::from(std::vector{static_cast<std::int64_t>(random_.offset())}, {});
  // faster at first, when the average holds little
  const auto step = static_cast<double>(step_ + 1);
  const Tensor rest = Tensor::of(1 - std::min(options_.ema, (1 + step) / (10 + step)));

  const std::vector<Tensor> all{rows,        pictures, pixels, tokens.ids, tokens.offsets, tokens.positions,
                                tokens.ends, place,    rest};
  const auto work = [&](const std::vector<Tensor>& in) {  // `all`, on the device
    Random random = options_.device.is_cpu() ? random_ : Random(options_.seed, in[7]);
    const std::uint64_t before = random.offset();
    const Inputs inputs{batch_of(features, in[0], in[1]), in[2], {in[3], in[4], in[5], tokens.longest, in[6]}};
    const Tensor value = parts ? part_by_part(inputs, captions, random) : at_once(inputs, random);
    move(value, in[8]);
    return std::vector{value, Tensor::from(std::vector{static_cast<std::int64_t>(random.offset() - before)}, {})};
  };
  Graphs none;
  const std::vector<Tensor> results = (parts ? none : graphs)(options_.device, all, work, tokens.longest);
  random_.reserve(4 * results[1].item<std::int64_t>());
  return results[0];
}

Tensor Training::gradients(std::span<const std::int32_t> captions) {
  Graphs none;
  return pass(captions, none, [](const Tensor&, const Tensor&) {});
}

void Training::train_step(std::span<const std::int32_t> captions) {
  if (options_.schedule == Schedule::cosine) {
    const WarmupCosine factor{.warmup = options_.warmup, .total = steps()};
    for (std::size_t group = 0; group < rates_.size(); ++group) optimizer_.set_lr(rates_[group] * factor(step_), group);
  }
  const Tensor value = pass(captions, graphs_, [&](const Tensor& loss, const Tensor& rest) {
    if (options_.device.is_cpu() && !std::isfinite(loss.item())) report_loss(step_, captions);
    optimizer_.step(options_.clip_norm);
    average_.update(rest);
  });
  losses_.view(std::ssize(unread_), {}).copy_from(value);
  unread_.emplace_back(captions.begin(), captions.end());
  ++step_;
  if (std::ssize(unread_) == losses_.numel()) read_losses();
  pairs_seen_ += std::ssize(captions);
}

/// Adds up the losses of the last steps. Waits for a GPU.
void Training::read_losses() {
  if (unread_.empty()) return;
  const std::vector<float> values = losses_.to_vector();
  for (std::size_t i = 0; i < unread_.size(); ++i) {
    if (!std::isfinite(values[i])) report_loss(step_ - std::ssize(unread_) + static_cast<std::int64_t>(i), unread_[i]);
    loss_sum_ += double{values[i]} * static_cast<double>(unread_[i].size());
  }
  unread_.clear();
}

void Training::report_loss(std::int64_t step, std::span<const std::int32_t> captions) const {
  const Batch batch = batch_of(pairs_.features, captions);
  std::vector<NamedTensor> all = {{"batch.pictures", batch.picture},
                                  {"batch.captions", Tensor::from(captions, {std::ssize(captions)})}};
  if (batch.text.defined()) all.push_back({"batch.text", batch.text});
  if (batch.image.defined()) all.push_back({"batch.image", batch.image});
  PairEncoder model = model_;
  for (const Member& member : members(model)) all.push_back({member.name, member.tensor->detach()});
  for (NamedTensor& one : all) one.tensor = to(one.tensor, Device::cpu());
  const std::filesystem::path file = run_ / ("not-finite-step-" + std::to_string(step) + ".safetensors");
  save_safetensors(file, all);
  std::ostringstream ids;
  for (const std::int32_t id : captions) ids << ' ' << id;
  fail("train", "the loss of step ", step, " is not finite; weights and batch are in ", quoted(file),
       ". A lower --lr may help. Captions of the batch:", ids.str());
}

double Training::validation_loss(const Embedded& val) const {
  const NoGrad guard;
  const std::int64_t all = val.texts.shape(0), size = val.texts.shape(1);
  double sum = 0;
  for (std::int64_t at = 0; at < all; at += options_.batch) {
    const std::int64_t count = std::min(options_.batch, all - at);
    const std::vector<std::int32_t> of(val.picture_of.begin() + at, val.picture_of.begin() + at + count);
    const Tensor pictures = Tensor::from(of, {count}, val.images.device());
    const Tensor value =
        loss(val.texts.view(at * size, {count, size}), embedding(val.images, pictures), pictures, averaged_);
    sum += double{value.item()} * static_cast<double>(count);
  }
  return sum / static_cast<double>(all);
}

EpochMetrics Training::finish_epoch() {
  read_losses();
  EpochMetrics m;
  m.epoch = std::ssize(metrics_) + 1;
  m.train_loss = loss_sum_ / static_cast<double>(pairs_seen_);
  m.lr = optimizer_.lr();
  PairEncoder model = averaged_.in_use(options_.type);
  const Embedded val = embed(model, pairs_, val_);
  m.val_loss = validation_loss(val);
  m.val = retrieval_recall(val.texts, val.images, val.picture_of);
  m.seconds = seconds_ + seconds_since(start_);
  m.images_per_second = static_cast<double>(pairs_seen_) / m.seconds;
  if (options_.schedule == Schedule::plateau) plateau_.step(m.val_loss, optimizer_);
  metrics_.push_back(m);
  loss_sum_ = seconds_ = 0;
  pairs_seen_ = 0;
  start_ = Clock::now();
  return m;
}

void Training::run(const Callbacks& callbacks) {
  start_ = Clock::now();
  auto saved = start_;
  double interval = 30;  // seconds between checkpoints
  while (std::ssize(metrics_) < options_.epochs) {
    if (callbacks.stop()) {
      save();
      fail("train", "interrupted at step ", step_, "; the same command with --resume goes on from there");
    }
    if (const auto captions = sampler_.next()) {
      train_step(*captions);
      callbacks.step(std::ssize(*captions));
      if (seconds_since(saved) < interval) continue;
    } else {
      const EpochMetrics m = finish_epoch();
      if (options_.keep_last || m.val_loss < best_) {
        best_ = std::min(best_, m.val_loss);
        callbacks.improved(averaged_, m);
      }
      callbacks.epoch(m);
    }
    const auto before = Clock::now();
    save();
    saved = Clock::now();
    interval = std::max(30.0, 20 * seconds_since(before));  // large models: a twentieth of the time at most
  }
}

/// Everything that changes and is not a number of `save`.
std::vector<NamedTensor> Training::tensors() const {
  std::vector<NamedTensor> all = optimizer_.state();
  PairEncoder model = model_, averaged = averaged_;
  const std::vector<Member> now = members(model), average = members(averaged);
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (!changes(now[i])) continue;
    all.push_back({now[i].name, now[i].tensor->detach()});
    if (options_.ema > 0) all.push_back({"average." + now[i].name, *average[i].tensor});
  }
  return all;
}

void Training::save() {
  read_losses();
  Json lines = Json::array();
  for (const EpochMetrics& m : metrics_) lines.push_back(to_json(m));
  const Json state = {{"configuration", Json::parse(configuration_)},
                      {"epoch", sampler_.position().epoch},
                      {"batch", sampler_.position().batch},
                      {"random", random_.offset()},
                      {"loss_sum", loss_sum_},
                      {"pairs", pairs_seen_},
                      {"seconds", seconds_ + seconds_since(start_)},
                      {"best", metrics_.empty() ? Json() : Json(best_)},
                      {"plateau_best", std::isfinite(plateau_.best) ? Json(plateau_.best) : Json()},
                      {"plateau_bad_epochs", plateau_.bad_epochs},
                      {"metrics", lines}};
  checkpoints_.save(step_, tensors(), state.dump());
}

bool Training::resume(const std::function<void(const std::string&)>& warn) {
  const auto checkpoint = checkpoints_.load(warn);
  if (!checkpoint) return false;
  const Json state = Json::parse(checkpoint->state), now = Json::parse(configuration_);
  for (const auto& [key, value] : now.items())
    check(state["configuration"].contains(key) && state["configuration"][key] == value, "--resume", "the run in ",
          quoted(run_), " was started with another ", key, ": ", state["configuration"].value(key, Json()).dump(),
          ", not ", value.dump());

  for (NamedTensor& mine : tensors()) mine.tensor.copy_from(checkpoint->tensors.at(mine.name));
  optimizer_.load_state(checkpoint->tensors);
  sampler_.seek({.epoch = state["epoch"], .batch = state["batch"]});
  random_ = Random(options_.seed, state["random"]);
  step_ = checkpoint->step;
  loss_sum_ = state["loss_sum"];
  pairs_seen_ = state["pairs"];
  seconds_ = state["seconds"];
  for (const Json& line : state["metrics"]) metrics_.push_back(metrics_from(line));
  if (!metrics_.empty()) best_ = state["best"];
  if (!state["plateau_best"].is_null()) plateau_.best = state["plateau_best"];
  plateau_.bad_epochs = state["plateau_bad_epochs"];
  return true;
}

std::int64_t Training::pairs_left() const {
  const std::int64_t epochs = options_.epochs - std::ssize(metrics_);
  const std::int64_t batches = sampler_.batches_per_epoch();
  return epochs <= 0 ? 0 : epochs * std::min(sampler_.items(), batches * options_.batch) - pairs_seen_;
}

}  // namespace clip
