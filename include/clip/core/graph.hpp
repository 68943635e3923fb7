#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// Work for a GPU that is recorded once and started again as a whole, which costs the CPU one launch (a CUDA graph).
/// Each replay does what was recorded, on the same memory: write new inputs into the tensors that `work` read
/// (`copy_from`), and find the results in those that it wrote.
class Graph {
 public:
  /// Calls `work`, but what it puts into the device's stream is recorded, not done. Tensors made in it have no values
  /// before the first replay, and stay valid as long as their handles do; what only `work` used is memory of the graph,
  /// taken again within it. Tensors from outside that it reads must outlive the graph's replays.
  /// Run `work` once before: that is when libraries make their plans and take their scratch memory.
  /// No other thread may use the device meanwhile: its work would be recorded too.
  /// What only the `work` of `other`, on the same device, used is taken for this graph too, since both never run at
  /// once. So a replay of either may overwrite the tensors that are left of the other: copy them before.
  /// Recording waits for the GPU.
  /// Throws what `work` throws, on a CPU, and when `work` waits for the GPU or copies between it and the host. What was
  /// made in it until then never gets values, gradients of leaves among it: drop those.
  Graph(const Device& device, const std::function<void()>& work, const Graph* other = nullptr);
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = delete;  // its device goes last
  /// Puts the recorded work into the stream, and does not wait for it.
  void replay() const;
  /// While a graph of the device is recorded: has each of its replays call `work` first, for what only some replays
  /// need. Throws when none is recorded.
  static void before_replay(const Device& device, std::function<void()> work);

 private:
  Device device_;
  std::shared_ptr<void> recorded_;
  std::vector<std::weak_ptr<Storage>> written_;  // by each replay
};

/// Graphs of one piece of work, one for each shape of its inputs: what comes again in a shape is replayed.
class Graphs {
 public:
  using Work = std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)>;
  static constexpr int most = 16;  ///< one more, and all begin anew

  Graphs() = default;
  /// A copy begins without graphs: its owner may give it other work.
  Graphs(const Graphs&) {}
  Graphs& operator=(const Graphs&) {
    seen_.clear();
    recorded_.clear();
    return *this;
  }

  /// work(inputs), with inputs from any device moved to this one; undefined ones stay so. On a CPU, and for a shape
  /// that was not seen before, `work` is called; the second time it is recorded, and replayed from then on. A new shape
  /// drops the graphs, so that their memory and its own are not needed at once; they are recorded again. `work` must be
  /// the same work at every call, and may depend on nothing that changes but its inputs, the contents of tensors that
  /// stay where they are, and `number`, which counts as part of the shape. The results are the caller's own; those on
  /// the CPU are what they were when `work` was recorded. Throws what `work` and `Graph` do.
  std::vector<Tensor> operator()(const Device& device, const std::vector<Tensor>& inputs, const Work& work,
                                 std::int64_t number = 0);
  /// How many there are.
  int size() const { return static_cast<int>(recorded_.size()); }

 private:
  struct Recorded {
    std::vector<Tensor> inputs, results;
    Graph graph;
  };
  using Key = std::vector<std::int64_t>;
  std::set<Key> seen_;
  std::map<Key, Recorded> recorded_;
};

}  // namespace clip
