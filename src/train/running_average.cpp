#include "clip/train/running_average.hpp"

#include <utility>

#include "kernels/running_average.hpp"
#include "src/dispatch.hpp"
#include "src/train/uploaded_list.hpp"

namespace clip {
namespace {

using List = UploadedList<kernels::AveragedTensor>;

}  // namespace

RunningAverage::RunningAverage(std::vector<Tensor> means, std::vector<Tensor> values)
    : means_(std::move(means)), values_(std::move(values)), list_(std::make_shared<List>()) {
  constexpr const char* op = "RunningAverage";
  check(means_.size() == values_.size(), op, "expected a mean for each of ", values_.size(), " tensors, got ",
        means_.size());
  for (std::size_t i = 0; i < means_.size(); ++i) {
    const Tensor &mean = means_[i], &value = values_[i];
    check_tensor(mean, op, Kernels::cpu_and_cuda);
    check_tensor(value, op, Kernels::cpu_and_cuda);
    for (const Tensor* t : {&mean, &value})
      check(t->dtype() == dtype::f32 && t->shape() == mean.shape() && t->device() == means_[0].device(), op,
            "expected f32 ", mean.shape(), " on ", means_[0].device(), ", got ", t->dtype(), ' ', t->shape(), " on ",
            t->device());
  }
}

void RunningAverage::update(float rest) {
  if (means_.empty()) return;
  std::vector<kernels::AveragedTensor> tensors;
  for (std::size_t i = 0; i < means_.size(); ++i)
    tensors.push_back({means_[i].mutable_data<float>(), values_[i].data<float>(), means_[i].numel()});
  const Device& device = means_[0].device();
  on_device(
      device, "RunningAverage", [&] { kernels::cpu::running_average(tensors, rest); },
      [&](auto stream) {
        kernels::cuda::running_average((*static_cast<List*>(list_.get()))(tensors, device), rest, stream);
      });
}

}  // namespace clip
