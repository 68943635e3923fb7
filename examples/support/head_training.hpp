#pragma once
// Trains the heads of a dual encoder on features that frozen encoders made once; can stop at any step and go on.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "clip/data/batches.hpp"
#include "clip/models/dual_encoder.hpp"
#include "clip/retrieval/recall.hpp"
#include "clip/train/checkpoint.hpp"
#include "clip/train/optimizer.hpp"
#include "clip/train/schedule.hpp"

namespace clip {

enum class Loss { soft, soft_detached, info_nce, siglip };

struct TrainingOptions {
  Loss loss = Loss::soft;
  std::int64_t epochs = 4, batch = 32;
  double lr = 1e-3, weight_decay = 1e-3;
  float temperature = 1, dropout = 0.1f;
  std::int64_t size = 256;  ///< of the shared space
  std::uint64_t seed = 0;
};

/// One line of metrics.jsonl.
struct EpochMetrics {
  std::int64_t epoch = 0;  ///< from 1
  double train_loss = 0, val_loss = 0, lr = 0;
  RetrievalRecall val;
  double seconds = 0, images_per_second = 0;
};

/// A head's rows for all rows of `features`, without dropout.
Tensor project(const ProjectionHead& head, const Tensor& features);

/// Both sides of some captions in the shared space: texts [captions, size], their pictures once each, and which belongs
/// to which.
struct Embedded {
  Tensor texts, images;
  std::vector<std::int64_t> picture_of;  ///< a row of `images`
};
Embedded embed(const DualHeads& heads, const Features& features, std::span<const std::int32_t> captions);

class HeadTraining {
 public:
  /// `configuration`, a JSON object, is what must not change between a run and its resumption.
  HeadTraining(const Features& features, std::vector<std::int32_t> train, std::vector<std::int32_t> val,
               const TrainingOptions& options, const std::filesystem::path& run, const std::string& configuration);

  /// Goes on from the last checkpoint; false when there is none. Throws when it belongs to another configuration, and
  /// names what differs.
  bool resume(const std::function<void(const std::string&)>& warn);

  /// Trains until all epochs are done, with a checkpoint after each and every half minute. `step` is called after each
  /// step with the number of pairs, `epoch` after each epoch, and `improved` before it, where the validation loss is
  /// the lowest so far. Throws on a loss that is not finite, with the step and the pictures of the batch; and, after
  /// saving a checkpoint, when `stop` says so.
  struct Callbacks {
    std::function<void(std::int64_t)> step;
    std::function<void(const EpochMetrics&)> epoch;
    std::function<void(DualHeads&, const EpochMetrics&)> improved;
    std::function<bool()> stop;
  };
  void run(const Callbacks& callbacks);

  /// Pairs still to be trained on.
  std::int64_t pairs_left() const;
  const std::vector<EpochMetrics>& metrics() const { return metrics_; }

 private:
  Tensor loss(const Batch& batch, Random* dropout) const;
  void train_step(std::span<const std::int32_t> captions);
  EpochMetrics finish_epoch();
  double validation_loss() const;
  void save() const;
  void dump(const Batch& batch, std::span<const std::int32_t> captions) const;

  const Features& features_;
  std::vector<std::int32_t> val_;
  TrainingOptions options_;
  std::filesystem::path run_;
  std::string configuration_;
  Checkpoints checkpoints_;
  Random random_;  // first the weights', then dropout's
  DualHeads heads_;
  AdamW optimizer_;
  ReduceLROnPlateau plateau_{.factor = 0.8, .patience = 1};
  Sampler sampler_;
  std::vector<EpochMetrics> metrics_;
  std::int64_t step_ = 0;
  double loss_sum_ = 0, best_ = std::numeric_limits<double>::infinity();  // of this epoch's pairs; of the epochs
  std::int64_t pairs_ = 0;
  double seconds_ = 0;  // of this epoch, before the current stretch
  std::chrono::steady_clock::time_point start_;
};

}  // namespace clip
