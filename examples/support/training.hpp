#pragma once
// Trains a dual encoder on captioned pictures; can stop at any step and go on as if it had not.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "clip/core/graph.hpp"
#include "clip/core/random.hpp"
#include "clip/retrieval/recall.hpp"
#include "clip/train/checkpoint.hpp"
#include "clip/train/optimizer.hpp"
#include "clip/train/running_average.hpp"
#include "clip/train/schedule.hpp"
#include "examples/support/pair_encoder.hpp"

namespace clip {

enum class Loss { soft, soft_detached, info_nce, siglip };
enum class Schedule { plateau, cosine };

struct TrainingOptions {
  Loss loss = Loss::soft;
  std::int64_t epochs = 4, batch = 32;
  std::int64_t micro_batch = 0;  ///< pairs whose graph is in memory at once; 0: the whole batch
  double lr = 1e-3, image_lr = 1e-4, text_lr = 1e-5;
  double weight_decay = 1e-3, encoder_weight_decay = 0;
  bool decay_norms = true;  ///< whether norms and biases decay too
  Schedule schedule = Schedule::plateau;
  std::int64_t warmup = 0;   ///< steps, before the cosine
  bool drop_last = false;    ///< leave out an epoch's last batch where it is smaller: a poor batch for a batch norm
  bool one_caption = false;  ///< an epoch has each picture once, with one of its captions, not with each
  double clip_norm = 0;      ///< of all gradients together; 0: any
  bool keep_last = false;    ///< `improved` is told of every epoch, whatever its validation loss
  double start_scale = 1;    ///< of the pictures' sides in the first half of the steps: faster, and varies their size
  double ema = 0;            ///< decay of the running average of weights that is evaluated and saved; 0: the last ones
  float temperature = 1, dropout = 0.1f;
  bool linear_heads = false;  ///< a projection alone for each side
  std::int64_t size = 256;    ///< of the shared space
  dtype type = dtype::f32;    ///< that encoders compute in
  Device device = {};         ///< of the heads; the encoders' and the features'
  std::uint64_t seed = 0;
};

/// One line of metrics.jsonl.
struct EpochMetrics {
  std::int64_t epoch = 0;  ///< from 1
  double train_loss = 0, val_loss = 0, lr = 0;
  RetrievalRecall val;
  double seconds = 0, images_per_second = 0;
};

class Training {
 public:
  /// `encoders` are those that run on each batch; they get new heads, unless they are a CLIP, which is trained by
  /// InfoNCE. `configuration`, a JSON object, is what must not change between a run and its resumption.
  Training(const Pairs& pairs, PairEncoder encoders, std::vector<std::int32_t> train, std::vector<std::int32_t> val,
           const TrainingOptions& options, const std::filesystem::path& run, const std::string& configuration);

  /// Goes on from the last checkpoint; false when there is none. Throws when it belongs to another configuration, and
  /// names what differs.
  bool resume(const std::function<void(const std::string&)>& warn);

  /// Trains until all epochs are done, with a checkpoint after each and every half minute, or less often where saving
  /// takes long. `step` is called after each step with the number of pairs, `epoch` after each epoch, and `improved`
  /// before it, where the validation loss is the lowest so far. Throws on a loss that is not finite, with the step and
  /// the pictures of the batch, on a GPU up to 63 steps late; and, after saving a checkpoint, when `stop` says so.
  struct Callbacks {
    std::function<void(std::int64_t)> step;
    std::function<void(const EpochMetrics&)> epoch;
    std::function<void(PairEncoder&, const EpochMetrics&)> improved;
    std::function<bool()> stop;
  };
  void run(const Callbacks& callbacks);

  /// Pairs still to be trained on.
  std::int64_t pairs_left() const;
  const std::vector<EpochMetrics>& metrics() const { return metrics_; }
  /// What is evaluated and saved: the weights, or their running average.
  const PairEncoder& model() const { return averaged_; }
  /// Of its steps, on a GPU. For tests.
  const Graphs& graphs() const { return graphs_; }
  /// The gradients of a step on these captions, which the parameters then hold; its loss. For tests.
  Tensor gradients(std::span<const std::int32_t> captions);

 private:
  /// What a forward pass takes: of each side rows of features, or the input of its encoder.
  struct Inputs {
    Batch batch;
    Tensor pixels;
    Tokens tokens;
  };

  Tensor loss(const Tensor& text, const Tensor& image, const Tensor& pictures, const PairEncoder& model) const;
  std::pair<Tensor, Tensor> forward(PairEncoder model, const Inputs& in, Random& random) const;
  Tensor at_once(const Inputs& in, Random& random) const;
  Tensor part_by_part(const Inputs& in, std::span<const std::int32_t> captions, Random& random) const;
  Tensor pass(std::span<const std::int32_t> captions, Graphs& graphs,
              const std::function<void(const Tensor& loss, const Tensor& rest)>& move);
  std::int64_t steps() const { return options_.epochs * sampler_.batches_per_epoch(); }  // of the whole run
  void train_step(std::span<const std::int32_t> captions);
  void read_losses();
  [[noreturn]] void report_loss(std::int64_t step, std::span<const std::int32_t> captions) const;
  EpochMetrics finish_epoch();
  double validation_loss(const Embedded& val) const;
  std::vector<NamedTensor> tensors() const;
  void save();

  const Pairs& pairs_;
  std::vector<std::int32_t> val_;
  TrainingOptions options_;
  std::filesystem::path run_;
  std::string configuration_;
  Checkpoints checkpoints_;
  Random random_;  // first the weights', then dropout's
  PairEncoder model_, averaged_;
  AdamW optimizer_;
  RunningAverage average_;
  std::vector<double> rates_;  // of the optimizer's groups, before the schedule
  ReduceLROnPlateau plateau_{.factor = 0.8, .patience = 1};
  Sampler sampler_;
  std::vector<EpochMetrics> metrics_;
  Graphs graphs_;  // of steps
  std::int64_t step_ = 0;
  Tensor losses_;                                  // of the steps that were not looked at yet, so that none waits
  std::vector<std::vector<std::int32_t>> unread_;  // their captions
  double loss_sum_ = 0, best_ = std::numeric_limits<double>::infinity();  // of this epoch's pairs; of the epochs
  std::int64_t pairs_seen_ = 0;                                           // in this epoch
  double seconds_ = 0;                                                    // of this epoch, before the current stretch
  std::chrono::steady_clock::time_point start_;
};

}  // namespace clip
