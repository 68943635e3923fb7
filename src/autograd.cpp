#include "clip/autograd.hpp"

#include <algorithm>
#include <atomic>

#include "kernels/arithmetic.hpp"
#include "src/dispatch.hpp"

namespace clip {

bool& detail::grad_mode() {
  thread_local bool enabled = true;
  return enabled;
}

namespace {

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed);
}

Recorded remember(const Tensor& t, std::shared_ptr<Node> node) {
  if (!t.defined()) return {};
  return {std::move(node), t.storage(), t.storage()->version()};
}

bool changed(const Recorded& recorded) {
  const std::shared_ptr<Storage> storage = recorded.storage.lock();
  return storage != nullptr && storage->version() != recorded.version;
}

/// Gives up references to nodes. Ops whose last one it was are destroyed from a list, one after another: a chain of a
/// million must not recurse. The list runs through the nodes, because a destructor must not need memory.
void destroy(std::vector<Recorded>&& inputs) {
  thread_local std::shared_ptr<OpNode>* waiting = nullptr;
  std::shared_ptr<OpNode> own;
  const bool outermost = waiting == nullptr;
  if (outermost) waiting = &own;
  for (Recorded& input : inputs) {
    if (input.node == nullptr || input.node->is_leaf() || input.node.use_count() > 1) continue;
    auto op = std::static_pointer_cast<OpNode>(std::move(input.node));
    op->next = std::move(*waiting);
    *waiting = std::move(op);
  }
  inputs.clear();
  if (!outermost) return;
  while (own != nullptr) {
    std::shared_ptr<OpNode> node = std::move(own);
    own = std::move(node->next);
    node.reset();  // adds its own inputs to the list
  }
  waiting = nullptr;
}

}  // namespace

OpNode::OpNode(const char* op_name, const Tensor& y, std::span<const Tensor* const> xs)
    : Node(y), name(op_name), sequence(next_sequence()), output(remember(y, nullptr)) {
  inputs.reserve(xs.size());
  for (const Tensor* x : xs) inputs.push_back(remember(*x, x->node()));
}

OpNode::~OpNode() { destroy(std::move(inputs)); }

void OpNode::release() {
  released = true;
  destroy(std::move(inputs));
}

void OpNode::check_unchanged() const {
  check(!changed(output), name,
        "expected its output unchanged until backward, got one that was written in place since");
  for (std::size_t i = 0; i < inputs.size(); ++i)
    check(!changed(inputs[i]), name, "expected input ", i,
          " unchanged until backward, got one that was written in place since");
}

namespace {

/// Adds a gradient to what a node has so far. In place only where nobody else can see it.
void accumulate(Node& node, Tensor grad) {
  if (!node.grad.defined()) {
    // a leaf's gradient is the user's to change, so it must not share storage with another one
    node.grad = node.is_leaf() && grad.storage().use_count() > 1 ? grad.clone() : std::move(grad);
    return;
  }
  Tensor sum = node.grad.storage().use_count() == 1 ? node.grad : empty_like(node.grad);
  dispatch_float(grad.dtype(), "backward", [&]<class T>() {
    T* out = sum.mutable_data<T>();
    on_device(
        grad.device(), "backward", [&] { kernels::cpu::add(out, node.grad.data<T>(), grad.data<T>(), grad.numel()); },
        [&](auto stream) { kernels::cuda::add(out, node.grad.data<T>(), grad.data<T>(), grad.numel(), stream); });
  });
  node.grad = std::move(sum);
}

/// The order of the heap of nodes that have a gradient and wait: the one recorded last comes first. Every op that used
/// its output was recorded later, so its gradient is complete then.
struct Earlier {
  bool operator()(const std::shared_ptr<OpNode>& a, const std::shared_ptr<OpNode>& b) const {
    return a->sequence < b->sequence;
  }
};

/// Runs one op's backward and hands its gradients on; ops that get their first one join the heap.
void run(OpNode& node, bool retain, std::vector<std::shared_ptr<OpNode>>& heap) {
  check(!node.released, node.name,
        "expected a graph, got one that an earlier backward freed: pass {.retain_graph = true} there");
  node.check_unchanged();
  Tensor dy = std::move(node.grad);
  node.grad = {};
  Grads grads = node.backward(dy);
  dy = {};
  check(grads.size() == node.inputs.size(), node.name, "expected ", node.inputs.size(),
        " gradients from backward, got ", grads.size());
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const std::shared_ptr<Node>& input = node.inputs[i].node;
    if (input == nullptr || !grads[i].defined()) continue;
    input->check_gradient(grads[i], node.name);
    accumulate(*input, std::move(grads[i]));
    if (input->is_leaf()) continue;
    auto op = std::static_pointer_cast<OpNode>(input);
    if (std::exchange(op->pending, true)) continue;
    heap.push_back(std::move(op));
    std::push_heap(heap.begin(), heap.end(), Earlier{});
  }
  if (!retain) node.release();
}

}  // namespace

void backward(const Tensor& loss, BackwardOptions options) {
  check(loss.defined(), "backward", "expected a defined tensor, got an undefined one");
  check(loss.numel() == 1, "backward", "expected a scalar loss, got shape ", loss.shape(),
        ": sum it, or pass the gradient of it");
  backward(loss, full(loss.shape(), 1, loss.dtype(), loss.device()), options);
}

void backward(const Tensor& y, const Tensor& dy, BackwardOptions options) {
  check(dy.defined(), "backward", "expected a gradient, got an undefined tensor");
  check(y.needs_grad(), "backward", "expected a tensor computed from one with requires_grad(), got a constant");
  y.node()->check_gradient(dy, "backward");
  const NoGrad guard;
  accumulate(*y.node(), dy);
  if (y.node()->is_leaf()) return;
  std::vector<std::shared_ptr<OpNode>> heap{std::static_pointer_cast<OpNode>(y.node())};
  heap.front()->pending = true;
  try {
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), Earlier{});
      const std::shared_ptr<OpNode> node = std::move(heap.back());
      heap.pop_back();
      node->pending = false;
      run(*node, options.retain_graph, heap);
    }
  } catch (...) {
    for (const auto& node : heap) {  // a failed backward leaves no half-summed gradient behind in the graph
      node->pending = false;
      node->grad = {};
    }
    throw;
  }
}

}  // namespace clip
