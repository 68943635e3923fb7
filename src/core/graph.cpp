#include "clip/core/graph.hpp"

#include <utility>

#include "src/core/cuda_context.hpp"

namespace clip {

Graph::Graph(const Device& device, const std::function<void()>& work, const Graph* other) : device_(device) {
  check(device.is_cuda(), "graph", "expected a GPU, got cpu");
  check(other == nullptr || other->device_ == device, "graph", "expected another graph of ", device,
        ", to share its memory, got one of another device");
  recorded_ = device_.cuda_->capture([&] { written_ = Storage::written_by(work); },
                                     other == nullptr ? nullptr : other->recorded_.get());
  std::erase_if(written_, [](const std::weak_ptr<Storage>& storage) { return storage.expired(); });
}

void Graph::replay() const {
  device_.cuda_->replay(recorded_.get());
  for (const std::weak_ptr<Storage>& each : written_)
    if (const auto storage = each.lock()) storage->changed();
}

void Graph::before_replay(const Device& device, std::function<void()> work) {
  check(device.capturing(), "graph", "expected a graph that is recorded on ", device, ", got none");
  device.cuda_->before_replay(std::move(work));
}

std::vector<Tensor> Graphs::operator()(const Device& device, const std::vector<Tensor>& inputs, const Work& work,
                                       std::int64_t number) {
  Key key{number};
  for (const Tensor& input : inputs) {
    key.push_back(input.defined() ? input.rank() : -1);
    if (!input.defined()) continue;
    key.insert(key.end(), input.shape().begin(), input.shape().end());
    key.push_back(static_cast<std::int64_t>(input.dtype()));
  }
  auto found = recorded_.find(key);
  if (found == recorded_.end()) {
    std::vector<Tensor> here;
    for (const Tensor& input : inputs) {
      here.push_back(input);
      if (input.defined() && input.device() != device)
        (here.back() = Tensor(input.shape(), input.dtype(), device)).copy_from(input);
    }
    if (device.is_cpu()) return work(here);
    if (!seen_.contains(key)) {
      recorded_.clear();  // or the GPU would have to hold their memory beside that of this call
      std::vector<Tensor> results = work(here);
      seen_.insert(std::move(key));
      return results;
    }
    if (size() == most) recorded_.clear();
    for (Tensor& input : here)
      if (input.defined()) input = input.clone();  // not the caller's
    std::vector<Tensor> results;
    Graph graph(
        device, [&] { results = work(here); }, recorded_.empty() ? nullptr : &recorded_.begin()->second.graph);
    found = recorded_.emplace(std::move(key), Recorded{std::move(here), std::move(results), std::move(graph)}).first;
  }
  Recorded& recorded = found->second;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined()) recorded.inputs[i].copy_from(inputs[i]);
  recorded.graph.replay();
  std::vector<Tensor> results;  // copies, because the other graphs' replays write there too
  for (const Tensor& result : recorded.results) results.push_back(result.clone());
  return results;
}

}  // namespace clip
