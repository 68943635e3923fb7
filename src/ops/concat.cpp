#include "clip/ops/concat.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/view.hpp"
#include "src/ops/blocks.hpp"

namespace clip {

Tensor concat(std::span<const Tensor> tensors, int dim) {
  check(!tensors.empty(), "concat", "expected at least one tensor, got none");
  const Tensor& first = tensors.front();
  for (const Tensor& t : tensors) check_tensor(t, "concat", Kernels::cpu_and_cuda);
  const int d = first.shape().index(dim, "concat");
  std::int64_t extent = 0;
  std::vector<const Tensor*> inputs;
  std::vector<std::int64_t> ends;
  std::vector<bool> needed;
  for (const Tensor& t : tensors) {
    check(t.rank() == first.rank() && t.shape().with(d, 0) == first.shape().with(d, 0), "concat",
          "expected shapes that agree but in dimension ", dim, ", got ", first.shape(), " and ", t.shape());
    check(t.dtype() == first.dtype() && t.device() == first.device(), "concat", "expected ", first.dtype(), " on ",
          first.device(), ", got ", t.dtype(), " on ", t.device());
    inputs.push_back(&t);
    ends.push_back(extent += t.shape(d));
    needed.push_back(t.needs_grad());
  }
  Tensor y(first.shape().with(d, extent), first.dtype(), first.device());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    copy_block(y, ends[i] - tensors[i].shape(d), tensors[i], 0, tensors[i].shape(d), d, "concat");
  return record("concat", y, std::span<const Tensor* const>(inputs), [d, ends, needed](const Tensor& dy) {
    std::vector<Tensor> grads;
    for (std::size_t i = 0; i < ends.size(); ++i)
      grads.push_back(needed[i] ? slice(dy, i == 0 ? 0 : ends[i - 1], ends[i], d) : Tensor());
    return Grads(std::move(grads));
  });
}

}  // namespace clip
