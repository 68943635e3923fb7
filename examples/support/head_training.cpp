#include "examples/support/head_training.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "examples/support/metrics.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

constexpr double checkpoint_seconds = 30;
constexpr std::int64_t embedding_rows = 4096;  // at a time, where nothing is trained

using Clock = std::chrono::steady_clock;

DualHeads new_heads(const Features& features, const TrainingOptions& options, Random& random) {
  DualHeads heads(features.text.shape(1), features.image.shape(1), options.size, random, options.dropout);
  if (options.loss == Loss::info_nce || options.loss == Loss::siglip)
    heads.logit_scale = Tensor::of({options.loss == Loss::siglip ? std::log(10.0) : std::log(1 / 0.07)});
  if (options.loss == Loss::siglip) heads.logit_bias = Tensor::of({-10});
  requires_grad(heads);
  return heads;
}

}  // namespace

Tensor project(const ProjectionHead& head, const Tensor& features) {
  const NoGrad guard;
  std::vector<Tensor> parts;
  for (std::int64_t at = 0; at < features.shape(0); at += embedding_rows)
    parts.push_back(head(
        features.view(at * features.shape(1), {std::min(embedding_rows, features.shape(0) - at), features.shape(1)})));
  return concat(parts);
}

Embedded embed(const DualHeads& heads, const Features& features, std::span<const std::int32_t> captions) {
  const Batch all = batch_of(features, captions);
  const auto picture = all.picture.to_vector<std::int32_t>();
  std::map<std::int32_t, std::int32_t> place;  // of a picture among those of these captions
  std::vector<std::int32_t> pictures;
  Embedded embedded;
  for (const std::int32_t p : picture) {
    const auto [at, is_new] = place.emplace(p, static_cast<std::int32_t>(pictures.size()));
    if (is_new) pictures.push_back(p);
    embedded.picture_of.push_back(at->second);
  }
  const NoGrad guard;
  embedded.texts = project(heads.text, all.text);
  embedded.images = project(heads.image, embedding(features.image, Tensor::from(pictures, {std::ssize(pictures)})));
  return embedded;
}

HeadTraining::HeadTraining(const Features& features, std::vector<std::int32_t> train, std::vector<std::int32_t> val,
                           const TrainingOptions& options, const std::filesystem::path& run,
                           const std::string& configuration)
    : features_(features),
      val_(std::move(val)),
      options_(options),
      run_(run),
      configuration_(configuration),
      checkpoints_(run / "checkpoints"),
      random_(options.seed),
      heads_(new_heads(features, options, random_)),
      optimizer_(parameters(heads_), {.lr = options.lr, .weight_decay = options.weight_decay}),
      sampler_(std::move(train), {.batch = options.batch, .seed = options.seed}) {}

Tensor HeadTraining::loss(const Batch& batch, Random* dropout) const {
  const Tensor text = heads_.text(batch.text, dropout), image = heads_.image(batch.image, dropout);
  switch (options_.loss) {
    case Loss::soft: return soft_target_loss(text, image, {.temperature = options_.temperature});
    case Loss::soft_detached:
      return soft_target_loss(text, image, {.temperature = options_.temperature, .detach_targets = true});
    case Loss::info_nce: return info_nce(l2_normalize(text), l2_normalize(image), heads_.logit_scale, batch.picture);
    case Loss::siglip: break;
  }
  return siglip_loss(l2_normalize(text), l2_normalize(image), heads_.logit_scale, heads_.logit_bias, batch.picture);
}

void HeadTraining::train_step(std::span<const std::int32_t> captions) {
  const Batch batch = batch_of(features_, captions);
  const Tensor value = loss(batch, &random_);
  if (!std::isfinite(value.item())) dump(batch, captions);
  backward(value);
  optimizer_.step();
  ++step_;
  loss_sum_ += double{value.item()} * static_cast<double>(captions.size());
  pairs_ += std::ssize(captions);
}

void HeadTraining::dump(const Batch& batch, std::span<const std::int32_t> captions) const {
  std::vector<NamedTensor> tensors = {{"batch.text", batch.text},
                                      {"batch.image", batch.image},
                                      {"batch.captions", Tensor::from(captions, {std::ssize(captions)})}};
  DualHeads heads = heads_;
  for (const Member& member : members(heads)) tensors.push_back({member.name, member.tensor->detach()});
  const std::filesystem::path file = run_ / ("not-finite-step-" + std::to_string(step_) + ".safetensors");
  save_safetensors(file, tensors);
  std::ostringstream ids;
  for (const std::int32_t id : captions) ids << ' ' << id;
  fail("train", "the loss of step ", step_, " is not finite; weights and batch are in ", quoted(file),
       ". A lower --lr may help. Captions of the batch:", ids.str());
}

double HeadTraining::validation_loss() const {
  const NoGrad guard;
  double sum = 0;
  const std::span<const std::int32_t> all = val_;
  for (std::size_t at = 0; at < all.size(); at += static_cast<std::size_t>(options_.batch)) {
    const auto captions = all.subspan(at, std::min(all.size() - at, static_cast<std::size_t>(options_.batch)));
    sum += double{loss(batch_of(features_, captions), nullptr).item()} * static_cast<double>(captions.size());
  }
  return sum / static_cast<double>(all.size());
}

EpochMetrics HeadTraining::finish_epoch() {
  EpochMetrics m;
  m.epoch = std::ssize(metrics_) + 1;
  m.train_loss = loss_sum_ / static_cast<double>(pairs_);
  m.val_loss = validation_loss();
  m.lr = optimizer_.lr();
  const Embedded val = embed(heads_, features_, val_);
  m.val = retrieval_recall(val.texts, val.images, val.picture_of);
  m.seconds = seconds_ + std::chrono::duration<double>(Clock::now() - start_).count();
  m.images_per_second = static_cast<double>(pairs_) / m.seconds;
  plateau_.step(m.val_loss, optimizer_);
  metrics_.push_back(m);
  loss_sum_ = seconds_ = 0;
  pairs_ = 0;
  start_ = Clock::now();
  return m;
}

void HeadTraining::run(const Callbacks& callbacks) {
  start_ = Clock::now();
  auto saved = start_;
  while (std::ssize(metrics_) < options_.epochs) {
    if (callbacks.stop()) {
      save();
      fail("train", "interrupted at step ", step_, "; the same command with --resume goes on from there");
    }
    if (const auto captions = sampler_.next()) {
      train_step(*captions);
      callbacks.step(std::ssize(*captions));
      if (std::chrono::duration<double>(Clock::now() - saved).count() < checkpoint_seconds) continue;
    } else {
      const EpochMetrics m = finish_epoch();
      if (m.val_loss < best_) {
        best_ = m.val_loss;
        callbacks.improved(heads_, m);
      }
      callbacks.epoch(m);
    }
    save();
    saved = Clock::now();
  }
}

void HeadTraining::save() const {
  DualHeads heads = heads_;
  std::vector<NamedTensor> tensors = optimizer_.state();
  for (const Member& member : members(heads)) tensors.push_back({member.name, member.tensor->detach()});
  Json lines = Json::array();
  for (const EpochMetrics& m : metrics_) lines.push_back(to_json(m));
  const Json state = {{"configuration", Json::parse(configuration_)},
                      {"epoch", sampler_.position().epoch},
                      {"batch", sampler_.position().batch},
                      {"random", random_.offset()},
                      {"loss_sum", loss_sum_},
                      {"pairs", pairs_},
                      {"seconds", seconds_ + std::chrono::duration<double>(Clock::now() - start_).count()},
                      {"best", metrics_.empty() ? Json() : Json(best_)},
                      {"plateau_best", metrics_.empty() ? Json() : Json(plateau_.best)},
                      {"plateau_bad_epochs", plateau_.bad_epochs},
                      {"metrics", lines}};
  checkpoints_.save(step_, tensors, state.dump());
}

bool HeadTraining::resume(const std::function<void(const std::string&)>& warn) {
  const auto checkpoint = checkpoints_.load(warn);
  if (!checkpoint) return false;
  const Json state = Json::parse(checkpoint->state), now = Json::parse(configuration_);
  for (const auto& [key, value] : now.items())
    check(state["configuration"].contains(key) && state["configuration"][key] == value, "--resume", "the run in ",
          quoted(run_), " was started with another ", key, ": ", state["configuration"].value(key, Json()).dump(),
          ", not ", value.dump());

  for (const Member& member : members(heads_)) member.tensor->copy_from(checkpoint->tensors.at(member.name));
  optimizer_.load_state(checkpoint->tensors);
  sampler_.seek({.epoch = state["epoch"], .batch = state["batch"]});
  random_ = Random(options_.seed, state["random"]);
  step_ = checkpoint->step;
  loss_sum_ = state["loss_sum"];
  pairs_ = state["pairs"];
  seconds_ = state["seconds"];
  for (const Json& line : state["metrics"]) metrics_.push_back(metrics_from(line));
  if (!metrics_.empty()) {
    best_ = state["best"];
    plateau_.best = state["plateau_best"];
  }
  plateau_.bad_epochs = state["plateau_bad_epochs"];
  return true;
}

std::int64_t HeadTraining::pairs_left() const {
  const std::int64_t epochs = options_.epochs - std::ssize(metrics_);
  return epochs <= 0 ? 0 : epochs * sampler_.items() - pairs_;
}

}  // namespace clip
