#include "clip/ops/embedding.hpp"

#include "clip/autograd.hpp"
#include "kernels/embedding.hpp"
#include "src/dispatch.hpp"
#include "src/ops/indices.hpp"

namespace clip {
namespace {

Tensor embedding_backward(const Tensor& dy, const Tensor& ids, const Shape& table) {
  const std::int64_t entries = table[0], cols = table[1], rows = ids.numel();
  Tensor dtable(table, dy.dtype(), dy.device());
  const std::int64_t words =
      dy.device().is_cpu() ? entries + 1 + rows : kernels::cuda::embedding_scratch(entries, rows);
  Tensor scratch({words}, dtype::i64, dy.device());
  dispatch_float(dy.dtype(), "embedding", [&]<class T>() {
    dispatch_index(ids.dtype(), "embedding", [&]<class I>() {
      T* out = dtable.mutable_data<T>();
      auto* order = scratch.mutable_data<std::int64_t>();
      on_device(
          dy.device(), "embedding",
          [&] { kernels::cpu::embedding_backward(out, dy.data<T>(), ids.data<I>(), entries, rows, cols, order); },
          [&](auto stream) {
            kernels::cuda::embedding_backward(out, dy.data<T>(), ids.data<I>(), entries, rows, cols, order, stream);
          });
    });
  });
  return dtable;
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  check_float(table, "embedding", Kernels::cpu_and_cuda);
  check_tensor(ids, "embedding", Kernels::cpu_and_cuda);
  check(table.rank() == 2, "embedding", "expected a table [V, D], got shape ", table.shape());
  const Tensor checked = checked_indices(ids, table.shape(0), table.device(), "embedding", "ids");
  Tensor y(ids.shape().inserted(ids.rank(), table.shape(1)), table.dtype(), table.device());
  void* out = y.mutable_raw();
  const std::int64_t row_bytes = table.shape(1) * static_cast<std::int64_t>(size_of(table.dtype()));
  dispatch_index(ids.dtype(), "embedding", [&]<class I>() {
    on_device(
        table.device(), "embedding",
        [&] { kernels::cpu::embedding_forward(out, table.raw(), checked.data<I>(), ids.numel(), row_bytes); },
        [&](auto stream) {
          kernels::cuda::embedding_forward(out, table.raw(), checked.data<I>(), ids.numel(), row_bytes, stream);
        });
  });
  return record("embedding", y, {table, ids}, [checked, shape = table.shape()](const Tensor& dy) {
    return Grads{embedding_backward(dy, checked, shape), Tensor()};
  });
}

}  // namespace clip
