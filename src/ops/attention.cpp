#include "clip/ops/attention.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "kernels/attention.hpp"
#include "src/dispatch.hpp"
#include "src/ops/dropout_mask.hpp"
#include "src/ops/indices.hpp"

namespace clip {
namespace {

using kernels::AttentionScratch;
using kernels::AttentionShape;

/// Checks the offsets of packed sequences of `rows` rows in all. On a GPU where it is known how long a sequence may be,
/// a kernel does, and `options` gets offsets that others may follow; otherwise `options` gets the longest length.
void check_offsets(AttentionOptions& options, std::int64_t rows) {
  const Tensor& offsets = options.offsets;
  check(offsets.rank() == 1 && offsets.numel() >= 1 && offsets.dtype() == dtype::i32, "attention",
        "expected offsets i32 [S + 1], got ", offsets.dtype(), ' ', offsets.shape());
  check(options.longest >= 0 && options.longest <= INT32_MAX, "attention", "expected a longest length within i32, got ",
        options.longest);
  if (offsets.device().is_cuda() && options.longest > 0) {
    Tensor checked = empty_like(offsets);
    const IndexCheck wanted = index_check(
        "attention",
        "offsets that ascend from 0 to " + std::to_string(rows) + " by at most " + std::to_string(options.longest),
        offsets);
    on_device(
        offsets.device(), "attention", [] {},
        [&](auto stream) {
          kernels::cuda::check_offsets(checked.mutable_data<std::int32_t>(), offsets.data<std::int32_t>(),
                                       offsets.numel(), rows, options.longest, wanted, offsets.device().index_faults(),
                                       stream);
        });
    options.offsets = checked;
    return;
  }
  const std::vector<std::int32_t> at = offsets.to_vector<std::int32_t>();
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < at.size(); ++i) {
    const std::int64_t length = std::int64_t{at[i]} - (i == 0 ? 0 : at[i - 1]);
    check(i == 0 ? at[i] == 0 : length >= 0, "attention", "expected offsets that start at 0 and ascend, got ", at[i],
          " at [", i, "]");
    longest = std::max(longest, length);
  }
  check(at.back() == rows, "attention", "expected offsets that end at ", rows, ", the rows of k, got ", at.back(),
        " at [", at.size() - 1, "]");
  check(options.longest == 0 || longest <= options.longest, "attention", "expected sequences of at most ",
        options.longest, " rows, got one of ", longest);
  if (options.longest == 0) options.longest = longest;
}

/// Checks everything; `options` gets the offsets that kernels may follow.
AttentionShape check_shape(const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions& options) {
  const bool packed = options.offsets.defined(), queries_packed = packed && q.rank() == 3;
  const int rank = packed ? 3 : 4;
  const char* form =
      packed ? "k and v [T, H, D], and q [T, H, D] or [S, L, H, D] with offsets" : "q, k, v [N, L, H, D]";
  check((q.rank() == 4 || queries_packed) && k.rank() == rank && k.shape() == v.shape() && q.shape(-2) == k.shape(-2) &&
            q.shape(-1) == k.shape(-1) &&
            (packed ? !queries_packed || q.shape() == k.shape() : q.shape(0) == k.shape(0)),
        "attention", "expected ", form, " that agree, got ", q.shape(), ", ", k.shape(), ", ", v.shape());
  check(q.dtype() == k.dtype() && q.dtype() == v.dtype(), "attention", "expected q, k, v of one dtype, got ", q.dtype(),
        ", ", k.dtype(), ", ", v.dtype());
  for (const Tensor* t : std::initializer_list<const Tensor*>{&k, &v, &options.mask, &options.offsets})
    check(!t->defined() || t->device() == q.device(), "attention", "expected all tensors on ", q.device(), ", got ",
          t->defined() ? t->device() : q.device());
  check(q.shape(-1) >= 1, "attention", "expected heads of at least one element, got q ", q.shape());
  check(!options.causal || q.shape() == k.shape(), "attention", "expected as many queries as keys for causal, got ",
        q.shape(-3), " and ", k.shape(-3));

  AttentionShape shape{
      .sequences = q.shape(0), .heads = q.shape(-2), .dim = q.shape(-1), .queries = q.shape(-3), .keys = k.shape(-3)};
  if (packed) {
    check(!options.mask.defined(), "attention", "expected a mask or offsets, got both");
    check_offsets(options, k.shape(0));
    shape.keys = options.longest;
    shape.offsets = options.offsets.data<std::int32_t>();
    shape.queries_packed = queries_packed;
    if (queries_packed) {
      shape.sequences = options.offsets.numel() - 1;
      shape.queries = shape.keys;
    }
    check(shape.sequences == options.offsets.numel() - 1, "attention", "expected offsets [", q.shape(0) + 1, "] for q ",
          q.shape(), ", got ", options.offsets.shape());
  }
  if (options.mask.defined()) {
    check(options.mask.dtype() == dtype::u8 && options.mask.shape() == Shape{shape.sequences, shape.keys}, "attention",
          "expected a mask u8 [", shape.sequences, ", ", shape.keys, "], got ", options.mask.dtype(), ' ',
          options.mask.shape());
    shape.mask = options.mask.data<std::uint8_t>();
  }
  shape.causal = options.causal;
  check(options.dropout >= 0 && options.dropout < 1, "attention", "expected a dropout in [0, 1), got ",
        options.dropout);
  if (options.random != nullptr && options.dropout > 0)
    shape.dropout = dropout_mask(options.dropout, *options.random, q.numel() / shape.dim * shape.row_blocks() * 4,
                                 q.device(), "attention");
  shape.scale = options.scale.value_or(1.0f / std::sqrt(static_cast<float>(shape.dim)));
  return shape;
}

struct Saved {
  Tensor q, k, v, y, lse, mask, offsets;  // mask and offsets: `shape` points into them
  AttentionShape shape;
};

Grads attention_backward(const Tensor& dy, const Saved& saved) {
  const Tensor &q = saved.q, &k = saved.k, &v = saved.v;
  const auto wanted = [](const Tensor& x) { return x.needs_grad() ? empty_like(x) : Tensor(); };
  Tensor dq = wanted(q), dk = wanted(k), dv = wanted(v);
  dispatch_float(q.dtype(), "attention", [&]<class T>() {
    const auto out = [](Tensor& d) { return d.defined() ? d.mutable_data<T>() : nullptr; };
    T *const dq_out = out(dq), *const dk_out = out(dk), *const dv_out = out(dv);
    on_device(
        q.device(), "attention",
        [&] {
          const AttentionScratch need = kernels::cpu::attention_backward_scratch(saved.shape);
          Tensor scratch({need.total()});
          kernels::cpu::attention_backward(dq_out, dk_out, dv_out, dy.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(),
                                           saved.y.data<T>(), saved.lse.data<float>(), saved.shape,
                                           scratch.mutable_data<float>(), need.workers);
        },
        [&](auto stream) {
          Tensor delta = empty_like(saved.lse);
          kernels::cuda::attention_backward(dq_out, dk_out, dv_out, dy.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(),
                                            saved.y.data<T>(), saved.lse.data<float>(), saved.shape,
                                            delta.mutable_data<float>(), stream);
        });
  });
  return Grads{dq, dk, dv, Tensor(), Tensor()};
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  for (const Tensor* t : {&q, &k, &v}) check_float(*t, "attention", Kernels::cpu_and_cuda);
  AttentionOptions checked = options;
  const AttentionShape shape = check_shape(q, k, v, checked);
  Tensor y = empty_like(q);
  Tensor lse(q.shape().without(-1), dtype::f32, q.device());
  dispatch_float(q.dtype(), "attention", [&]<class T>() {
    T* out = y.mutable_data<T>();
    float* sums = lse.mutable_data<float>();
    on_device(
        q.device(), "attention",
        [&] {
          const AttentionScratch need = kernels::cpu::attention_forward_scratch(shape);
          Tensor scratch({need.total()});
          kernels::cpu::attention_forward(out, sums, q.data<T>(), k.data<T>(), v.data<T>(), shape,
                                          scratch.mutable_data<float>(), need.workers);
        },
        [&](auto stream) {
          kernels::cuda::attention_forward(out, sums, q.data<T>(), k.data<T>(), v.data<T>(), shape, stream);
        });
  });
  return record("attention", y, {q, k, v, options.mask, options.offsets},
                [saved = Saved{q, k, v, y, lse, options.mask, checked.offsets, shape}](const Tensor& dy) {
                  return attention_backward(dy, saved);
                });
}

}  // namespace clip
