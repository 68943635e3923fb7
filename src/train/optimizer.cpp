#include "clip/train/optimizer.hpp"

#include <bit>
#include <cmath>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "kernels/adamw.hpp"
#include "src/dispatch.hpp"
#include "src/train/uploaded_list.hpp"

namespace clip {
namespace {

void check_options(const AdamWOptions& o) {
  check(o.lr >= 0 && std::isfinite(o.lr), "AdamW", "expected lr >= 0, got ", o.lr);
  check(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "AdamW", "expected weight_decay >= 0, got ",
        o.weight_decay);
  check(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, "AdamW", "expected betas in [0, 1), got ", o.beta1,
        " and ", o.beta2);
  check(o.eps >= 0 && std::isfinite(o.eps), "AdamW", "expected eps >= 0, got ", o.eps);
}

}  // namespace

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options)
    : AdamW(std::vector<Group>{{std::move(parameters), options}}) {}

AdamW::AdamW(std::vector<Group> groups) : groups_(std::move(groups)) {
  std::set<const Node*> seen;
  for (const Group& group : groups_) {
    check_options(group.options);
    std::vector<Moments>& moments = moments_.emplace_back();
    for (const Tensor& parameter : group.parameters) {
      check_tensor(parameter, "AdamW", Kernels::cpu_and_cuda);
      if (seen.empty()) device_ = parameter.device();
      check(parameter.device() == device_, "AdamW", "expected parameters on one device, got ", device_, " and ",
            parameter.device());
      check(parameter.dtype() == dtype::f32, "AdamW", "expected parameters in f32, got ", parameter.dtype(), ' ',
            parameter.shape());
      check(parameter.needs_grad() && parameter.node()->is_leaf(), "AdamW",
            "expected parameters made with requires_grad(), got a ", parameter.needs_grad() ? "result" : "constant",
            ' ', parameter.shape(), ": call requires_grad(module) first");
      check(seen.insert(parameter.node().get()).second, "AdamW", "expected every parameter once, got one ",
            parameter.shape(), " twice");
      const Tensor zero = zeros(parameter.shape(), dtype::f32, device_);
      moments.push_back({zero, zero.clone(), zeros({}, dtype::i64, device_)});
    }
  }
  write_settings();
}

void AdamW::step(double max_norm) {
  const auto* const settings = static_cast<const kernels::AdamWSettings*>(settings_.raw());
  std::vector<kernels::AdamWTensor> tensors;
  for (std::size_t g = 0; g < groups_.size(); ++g)
    for (std::size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      Tensor& parameter = groups_[g].parameters[i];
      const Tensor& gradient = parameter.grad();
      if (!gradient.defined()) continue;
      Moments& moments = moments_[g][i];
      tensors.push_back({.p = parameter.mutable_data<float>(),
                         .m = moments.mean.mutable_data<float>(),
                         .v = moments.square.mutable_data<float>(),
                         .g = gradient.data<float>(),
                         .count = parameter.numel(),
                         .steps = moments.steps.mutable_data<std::int64_t>(),
                         .settings = settings + g});
    }
  const auto norm = static_cast<float>(max_norm);
  on_device(
      device_, "AdamW",
      [&] {
        std::vector<kernels::AdamWRates> rates;
        rates.reserve(tensors.size());
        for (const kernels::AdamWTensor& tensor : tensors)
          rates.push_back(kernels::next_rates(tensor, [](double x) { return std::sqrt(x); }));
        kernels::cpu::adamw(tensors, rates.data(), max_norm > 0 ? kernels::cpu::clip_factor(tensors, norm) : 1);
      },
      [&](auto stream) {
        const UploadedList there(tensors, device_, stream);
        Tensor rates_there({std::ssize(tensors) * static_cast<std::int64_t>(sizeof(kernels::AdamWRates))}, dtype::u8,
                           device_);
        auto* const rates = static_cast<kernels::AdamWRates*>(rates_there.mutable_raw());
        kernels::cuda::adamw_rates(rates, there.list, stream);
        Tensor factor;
        if (max_norm > 0) {
          factor = Tensor({}, dtype::f32, device_);
          Tensor partial({there.list.blocks}, dtype::i64, device_);  // doubles, of the same size
          kernels::cuda::clip_factor(factor.mutable_data<float>(), static_cast<double*>(partial.mutable_raw()),
                                     there.list, norm, stream);
        }
        kernels::cuda::adamw(there.list, rates, factor.defined() ? factor.data<float>() : nullptr, stream);
      });
  for (const Group& group : groups_)
    for (const Tensor& parameter : group.parameters) parameter.set_grad({});
}

void AdamW::set_lr(double lr, std::size_t group) {
  check(lr >= 0 && std::isfinite(lr), "AdamW", "expected lr >= 0, got ", lr);
  if (lr == groups_.at(group).options.lr) return;
  groups_[group].options.lr = lr;
  write_settings();
}

void AdamW::write_settings() {
  std::vector<kernels::AdamWSettings> all;
  for (const auto& [parameters, o] : groups_) all.push_back({o.lr, o.weight_decay, o.beta1, o.beta2, o.eps});
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(all.data()), all.size() * sizeof(kernels::AdamWSettings));
  const Tensor here = Tensor::from(bytes, {std::ssize(bytes)});
  if (!settings_.defined()) settings_ = Tensor(here.shape(), dtype::u8, device_);
  settings_.copy_from(here);
}

std::vector<NamedTensor> AdamW::state() const {
  std::vector<NamedTensor> tensors;
  std::vector<std::int64_t> rates;
  for (const Group& group : groups_) rates.push_back(std::bit_cast<std::int64_t>(group.options.lr));
  tensors.push_back({"adamw.lr", Tensor::from(rates, {static_cast<std::int64_t>(rates.size())})});
  std::size_t index = 0;
  for (const std::vector<Moments>& group : moments_)
    for (const Moments& moments : group) {
      const std::string prefix = "adamw." + std::to_string(index++) + '.';
      tensors.push_back({prefix + "exp_avg", moments.mean});
      tensors.push_back({prefix + "exp_avg_sq", moments.square});
      tensors.push_back({prefix + "step", moments.steps});
    }
  return tensors;
}

void AdamW::load_state(const std::map<std::string, Tensor>& tensors) {
  std::vector<NamedTensor> ours = state();
  std::vector<Tensor> loaded;
  for (const NamedTensor& mine : ours) {
    const auto found = tensors.find(mine.name);
    check(found != tensors.end(), "AdamW", "expected ", mine.name, " in the saved state, got none");
    const Tensor& saved = loaded.emplace_back(found->second);
    check(saved.shape() == mine.tensor.shape() && saved.dtype() == mine.tensor.dtype(), "AdamW", "expected ", mine.name,
          ' ', mine.tensor.dtype(), ' ', mine.tensor.shape(), " in the saved state, got ", saved.dtype(), ' ',
          saved.shape());
  }
  const auto rates = loaded.front().to_vector<std::int64_t>();
  for (const std::int64_t bits : rates)
    check(std::bit_cast<double>(bits) >= 0 && std::isfinite(std::bit_cast<double>(bits)), "AdamW",
          "expected learning rates >= 0 in the saved state, got ", std::bit_cast<double>(bits));
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i].tensor.copy_from(loaded[i]);
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].options.lr = std::bit_cast<double>(rates[g]);
  write_settings();
}

}  // namespace clip
