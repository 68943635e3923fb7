#pragma once
#include <functional>
#include <memory>
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
  /// Throws what `work` throws, on a CPU, and when `work` waits for the GPU or copies between it and the host.
  Graph(const Device& device, const std::function<void()>& work);
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = delete;  // its device goes last
  /// Puts the recorded work into the stream, and does not wait for it.
  void replay() const;

 private:
  Device device_;
  std::shared_ptr<void> recorded_;
  std::vector<std::weak_ptr<Storage>> written_;  // by each replay
};

}  // namespace clip
