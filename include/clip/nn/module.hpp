#pragma once
// A module is a struct of tensors that names them once, in `visit`:
//
//   struct Head {
//     Linear first, second;
//     void visit(auto&& v) { v("first", first); v("second", second); }
//   };
//
// A member may be a tensor, a module, or a vector or optional of modules; a module in a vector is named by its index,
// and undefined tensors are passed over. `v.buffer(name, tensor)` names what is saved but not trained. Everything that
// concerns all tensors of a module goes through `members`.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/io/weight_names.hpp"
#include "clip/ops/cast.hpp"

namespace clip {

/// A tensor of a module, by its path: `layer.0.attention.q_lin.weight`.
struct Member {
  std::string name;
  Tensor* tensor;
  bool trainable;  ///< false for buffers
};

namespace detail {

class MemberList {
 public:
  explicit MemberList(std::vector<Member>& members) : members_(members) {}

  void operator()(std::string_view name, Tensor& tensor) { add(name, tensor, true); }
  void buffer(std::string_view name, Tensor& tensor) { add(name, tensor, false); }
  template <class Module>
  void operator()(std::string_view name, Module& module) {
    const std::size_t outside = prefix_.size();
    prefix_.append(name).append(".");
    module.visit(*this);
    prefix_.resize(outside);
  }
  template <class Module>
  void operator()(std::string_view name, std::vector<Module>& modules) {
    const std::size_t outside = prefix_.size();
    prefix_.append(name).append(".");
    for (std::size_t i = 0; i < modules.size(); ++i) (*this)(std::to_string(i), modules[i]);
    prefix_.resize(outside);
  }
  template <class Module>
  void operator()(std::string_view name, std::optional<Module>& module) {
    if (module) (*this)(name, *module);
  }

 private:
  void add(std::string_view name, Tensor& tensor, bool trainable) {
    if (tensor.defined()) members_.push_back({std::string(prefix_).append(name), &tensor, trainable});
  }

  std::vector<Member>& members_;
  std::string prefix_;
};

}  // namespace detail

/// All tensors of a module, in the order in which it names them.
template <class Module>
std::vector<Member> members(Module& module) {
  std::vector<Member> list;
  detail::MemberList visitor(list);
  module.visit(visitor);
  return list;
}

/// The tensors that are trained, as handles that share the module's storage and gradients.
template <class Module>
std::vector<Tensor> parameters(Module& module) {
  std::vector<Tensor> list;
  for (const Member& member : members(module))
    if (member.trainable) list.push_back(*member.tensor);
  return list;
}

/// Makes every parameter a leaf that gathers gradients, or, with false, a constant.
template <class Module>
void requires_grad(Module& module, bool required = true) {
  for (const Member& member : members(module))
    if (member.trainable) member.tensor->requires_grad(required);
}

/// A copy that computes in `type`: its parameters are the module's, converted under autograd's eyes, so that their
/// gradients reach the module's own; buffers are shared.
template <class Module>
Module cast(Module module, dtype type) {
  for (const Member& member : members(module))
    if (member.trainable) *member.tensor = to(*member.tensor, type);
  return module;
}

/// Elements of all parameters.
template <class Module>
std::int64_t count_parameters(Module& module) {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters(module)) count += parameter.numel();
  return count;
}

/// Fills `members` from the tensors of a file, on `device`; parameters as `type`, buffers in the dtype they have.
/// Strict: throws one error that lists the tensors that are missing, unexpected or of another shape, 40 of each at
/// most, and changes nothing then.
void load(const std::vector<Member>& members, const SafeTensors& file, const Device& device = {},
          dtype type = dtype::f32);
/// The same from a file with foreign names.
void load(const std::vector<Member>& members, const SafeTensors& file, const WeightNames& names,
          const Device& device = {}, dtype type = dtype::f32);
template <class Module>
void load(Module& module, const std::filesystem::path& file, const Device& device = {}, dtype type = dtype::f32) {
  load(members(module), SafeTensors::open(file), device, type);
}

/// Writes all tensors of a module to a safetensors file, durably.
void save(const std::vector<Member>& members, const std::filesystem::path& path);
template <class Module>
void save(Module& module, const std::filesystem::path& path) {
  save(members(module), path);
}

/// How the parameters of a new module get their first values: at random, or not at all, because a file's are to be
/// loaded into them.
class Init {
 public:
  Init(Random& random) : random_(&random) {}
  static Init none() { return {}; }

  /// Uniform numbers in [-bound, bound], or uninitialised ones.
  Tensor uniform(const Shape& shape, float bound) const;
  /// Normal numbers with this standard deviation, or uninitialised ones.
  Tensor normal(const Shape& shape, float deviation) const;
  /// A constant, or uninitialised elements.
  Tensor constant(const Shape& shape, float value) const;

 private:
  Init() = default;
  Random* random_ = nullptr;
};

}  // namespace clip
