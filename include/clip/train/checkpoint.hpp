#pragma once
// What a training run needs to go on as if it had not stopped.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/io/safetensors.hpp"

namespace clip {

struct Checkpoint {
  std::int64_t step = 0;
  std::map<std::string, Tensor> tensors;  ///< weights and the optimizer's state, on the CPU
  std::string state;                      ///< all else, as JSON text: epoch, random numbers, sampler, configuration
};

/// The checkpoints of a run: one safetensors file each, `step-000000000120.safetensors`, with a checksum for each
/// tensor and one for everything else. They appear whole or not at all, and the last few are kept.
class Checkpoints {
 public:
  /// `folder` is made when there is something to save. Throws unless `keep` is positive.
  explicit Checkpoints(const std::filesystem::path& folder, int keep = 2);

  /// Saves a checkpoint durably; then removes the oldest, those of later steps (of a course the run went back from),
  /// and what a killed process left half written. On an error the earlier ones are untouched. One process at a time.
  void save(std::int64_t step, std::span<const NamedTensor> tensors, const std::string& state) const;

  /// The latest checkpoint that is whole; nothing when none was ever saved. `warn` hears of each damaged one that is
  /// passed over. Throws when all are damaged.
  std::optional<Checkpoint> load(const std::function<void(const std::string&)>& warn = {}) const;

 private:
  std::vector<std::filesystem::path> files() const;

  std::filesystem::path folder_;
  std::size_t keep_;
};

/// Reads one checkpoint. Throws when it is damaged: also one bit of it, anywhere but in padding.
Checkpoint load_checkpoint(const std::filesystem::path& file);

}  // namespace clip
