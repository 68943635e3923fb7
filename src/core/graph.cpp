#include "clip/core/graph.hpp"

#include <utility>

#include "src/core/cuda_context.hpp"

namespace clip {

Graph::Graph(const Device& device, const std::function<void()>& work) : device_(device) {
  check(device.is_cuda(), "graph", "expected a GPU, got cpu");
  recorded_ = device_.cuda_->capture([&] { written_ = Storage::written_by(work); });
  std::erase_if(written_, [](const std::weak_ptr<Storage>& storage) { return storage.expired(); });
}

void Graph::replay() const {
  device_.cuda_->replay(recorded_.get());
  for (const std::weak_ptr<Storage>& each : written_)
    if (const auto storage = each.lock()) storage->changed();
}

}  // namespace clip
