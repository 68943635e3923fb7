#include "clip/train/running_average.hpp"

#include <utility>

#include "kernels/running_average.hpp"
#include "src/dispatch.hpp"
#include "src/train/uploaded_list.hpp"

namespace clip {
RunningAverage::RunningAverage(std::vector<Tensor> means, std::vector<Tensor> values)
    : means_(std::move(means)), values_(std::move(values)) {
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

void RunningAverage::update(const Tensor& rest) {
  if (means_.empty()) return;
  const Device& device = means_[0].device();
  check(rest.device() == device && rest.numel() == 1, "RunningAverage", "expected one number on ", device, ", got ",
        rest.shape(), " on ", rest.device());
  std::vector<kernels::AveragedTensor> tensors;
  for (std::size_t i = 0; i < means_.size(); ++i)
    tensors.push_back({means_[i].mutable_data<float>(), values_[i].data<float>(), means_[i].numel()});
  on_device(
      device, "RunningAverage", [&] { kernels::cpu::running_average(tensors, rest.item()); },
      [&](auto stream) {
        const UploadedList there(tensors, device, stream);
        kernels::cuda::running_average(there.list, rest.data<float>(), stream);
      });
}

}  // namespace clip
