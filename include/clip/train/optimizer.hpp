#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/io/safetensors.hpp"

namespace clip {

struct AdamWOptions {
  double lr = 1e-3;
  double weight_decay = 1e-2;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), with the arithmetic and defaults of
/// torch.optim.AdamW. Parameters are f32 leaves on one device; those that got no gradient are left alone.
class AdamW {
 public:
  /// Parameters that share their options.
  struct Group {
    std::vector<Tensor> parameters;
    AdamWOptions options = {};
  };

  /// Throws unless every parameter is f32, was made with `requires_grad()` and is given once, and on options that make
  /// no sense.
  explicit AdamW(std::vector<Group> groups);
  explicit AdamW(std::vector<Tensor> parameters, const AdamWOptions& options = {});

  /// Moves every parameter by its gradient, and forgets the gradient. With `max_norm` > 0, gradients whose norm, of all
  /// together, is larger count as if multiplied by max_norm / (norm + 1e-6), as torch.nn.utils.clip_grad_norm_ would
  /// leave them. A GPU is not waited for, and keeps count of the steps itself: a graph may record this, whose replays
  /// then are steps by the rates of their day.
  void step(double max_norm = 0);

  std::size_t groups() const { return groups_.size(); }
  double lr(std::size_t group = 0) const { return groups_.at(group).options.lr; }
  /// From the next step on, or replay of one. Throws unless `lr` is finite and >= 0.
  void set_lr(double lr, std::size_t group = 0);

  /// All that a later run needs to go on bit by bit, beside the parameters: `adamw.3.exp_avg`, `adamw.3.exp_avg_sq` and
  /// `adamw.3.step` for parameter 3, counted over all groups, and `adamw.lr`, the groups' rates as the bits of doubles.
  /// The tensors share the optimizer's memory.
  std::vector<NamedTensor> state() const;
  /// Takes up what `state` gave, by name, from tensors among which may be others. Throws, and changes nothing, when one
  /// is missing or of another shape or dtype.
  void load_state(const std::map<std::string, Tensor>& tensors);

 private:
  struct Moments {
    Tensor mean, square, steps;  // of the gradient and its square; i64 scalar
  };
  void write_settings();

  std::vector<Group> groups_;
  Device device_;
  std::vector<std::vector<Moments>> moments_;  // beside the groups' parameters
  Tensor settings_;                            // of the groups, as bytes where the kernels read them
};

}  // namespace clip
