#pragma once
#include <array>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// The gradients a backward closure returns: one for each input of its op, in order, of that input's shape and dtype;
/// an undefined tensor where there is none.
class Grads {
 public:
  template <class... T>
  requires(std::is_same_v<std::remove_cvref_t<T>, Tensor>&&...) Grads(T&&... grads) {
    grads_.reserve(sizeof...(grads));
    (grads_.push_back(std::forward<T>(grads)), ...);
  }
  explicit Grads(std::vector<Tensor> grads) : grads_(std::move(grads)) {}
  std::size_t size() const { return grads_.size(); }
  Tensor& operator[](std::size_t i) { return grads_[i]; }

 private:
  std::vector<Tensor> grads_;
};

/// What an op remembers of a tensor it read or wrote: where its gradient goes, and how to notice that it was changed.
struct Recorded {
  std::shared_ptr<Node> node;  // null for constants
  std::weak_ptr<Storage> storage;
  std::uint64_t version = 0;
};

/// A recorded op. `record` makes them; nobody else needs to.
class OpNode : public Node {
 public:
  OpNode(const char* op_name, const Tensor& y, std::span<const Tensor* const> xs);
  ~OpNode() override;
  bool is_leaf() const final { return false; }

  /// Throws when a tensor that the op read or wrote was changed since.
  void check_unchanged() const;
  /// Gradients of the inputs, given that of the output.
  virtual Grads backward(const Tensor& dy) = 0;
  /// Forgets closure and inputs, whose memory is freed unless somebody else holds it. Never recurses.
  virtual void release();

  const char* name;
  std::uint64_t sequence;  // larger than that of every op before it: the order backward follows
  std::vector<Recorded> inputs;
  Recorded output;
  std::shared_ptr<OpNode> next;  // while it waits for its destruction
  bool pending = false, released = false;
};

namespace detail {

bool& grad_mode();  // of this thread

template <class Backward>
class ClosureNode final : public OpNode {
 public:
  ClosureNode(const char* op, const Tensor& y, std::span<const Tensor* const> xs, Backward&& closure)
      : OpNode(op, y, xs), closure_(std::make_unique<Backward>(std::move(closure))) {}
  Grads backward(const Tensor& dy) override { return (*closure_)(dy); }
  void release() override {
    closure_.reset();  // before the edges: what it captured must not hold the last reference to a long chain
    OpNode::release();
  }

 private:
  std::unique_ptr<Backward> closure_;
};

}  // namespace detail

/// While one exists, ops on this thread record nothing.
class NoGrad {
 public:
  NoGrad() : before_(std::exchange(detail::grad_mode(), false)) {}
  ~NoGrad() { detail::grad_mode() = before_; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

/// Whether an op on these inputs is recorded: no NoGrad, and at least one of them needs a gradient.
template <class... Tensors>
bool recording(const Tensors&... inputs) {
  return detail::grad_mode() && (inputs.needs_grad() || ...);
}

/// Makes `output` the recorded result of an op on `inputs`, when one of them needs a gradient; otherwise returns it as
/// it is. `backward(const Tensor& dy) -> Grads` runs without recording (there is no double backward) and captures what
/// it needs by value. Every input and the output must stay unchanged until then. Undefined inputs are allowed.
template <class Backward>
Tensor record(const char* op, Tensor output, std::span<const Tensor* const> inputs, Backward backward) {
  if (!detail::grad_mode()) return output;
  for (const Tensor* input : inputs) {
    if (!input->needs_grad()) continue;
    output = output.detach();
    output.set_node(std::make_shared<detail::ClosureNode<Backward>>(op, output, inputs, std::move(backward)));
    break;
  }
  return output;
}

/// An op's input, for `record`'s list: refers to a tensor without copying it.
struct Input {
  Input(const Tensor& input) : tensor(&input) {}
  const Tensor* tensor;
};

template <class Backward>
Tensor record(const char* op, Tensor output, std::initializer_list<Input> inputs, Backward backward) {
  std::array<const Tensor*, 8> pointers{};
  check(inputs.size() <= pointers.size(), op, "expected at most ", pointers.size(), " inputs, got ", inputs.size());
  std::size_t count = 0;
  for (const Input& input : inputs) pointers[count++] = input.tensor;
  return record(op, std::move(output), std::span<const Tensor* const>(pointers.data(), count), std::move(backward));
}

struct BackwardOptions {
  bool retain_graph = false;  ///< keep the graph for another backward; otherwise it is freed on the way
};

/// Adds d loss / d leaf to the gradient of every leaf that `loss` was computed from. Ops run in the reverse of the
/// order they were recorded in, without recursion. Throws unless `loss` is a recorded scalar, and when a tensor that
/// the graph needs was changed in place; leaves reached before the error keep what was added to them. Graphs that share
/// leaves or ops must not run backward on two threads at once.
void backward(const Tensor& loss, BackwardOptions options = {});
/// The same for any shape, from the gradient `dy` of `y`.
void backward(const Tensor& y, const Tensor& dy, BackwardOptions options = {});

}  // namespace clip
