#include "kernels/attention.hpp"

#include <limits>

#include "clip/autograd.hpp"
#include "clip/ops/attention.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

using namespace clip;
using namespace clip::test;

TEST_CASE("attention takes any address and any number of workers", "[kernels]") {
  const kernels::AttentionShape shape{.sequences = 3, .heads = 2, .dim = 21, .queries = 70, .keys = 90, .scale = 0.3f};
  const Shape queries{3, 70, 2, 21}, keys{3, 90, 2, 21};
  Tensor q = to_tensor(random_array(queries)).requires_grad(),
         k = to_tensor(random_array(keys, -1, 1, 1)).requires_grad(),
         v = to_tensor(random_array(keys, -1, 1, 2)).requires_grad();
  const Tensor y = attention(q, k, v, {.scale = 0.3f}), dy = to_tensor(random_array(queries, -1, 1, 3));
  backward(y, dy);

  // every array one element after an aligned address
  const auto shifted = [](const Tensor& t) {
    std::vector<float> copy{0};
    const std::vector<float> values = t.to_vector();
    copy.insert(copy.end(), values.begin(), values.end());
    return copy;
  };
  const std::vector<float> q1 = shifted(q), k1 = shifted(k), v1 = shifted(v), dy1 = shifted(dy);
  const auto values = [](const std::vector<float>& array) {
    return std::vector<float>(array.begin() + 1, array.end());
  };
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t workers : {1, 2, 5}) {
    std::vector<float> y1(q1.size()), dq1(q1.size()), dk1(k1.size()), dv1(k1.size()), lse(3 * 70 * 2);
    const std::int64_t floats = std::max(kernels::cpu::attention_forward_scratch(shape).floats,
                                         kernels::cpu::attention_backward_scratch(shape).floats);
    std::vector<float> scratch(static_cast<std::size_t>(workers * floats), nan);  // what it held must not matter
    kernels::cpu::attention_forward(y1.data() + 1, lse.data(), q1.data() + 1, k1.data() + 1, v1.data() + 1, shape,
                                    scratch.data(), workers);
    kernels::cpu::attention_backward(dq1.data() + 1, dk1.data() + 1, dv1.data() + 1, dy1.data() + 1, q1.data() + 1,
                                     k1.data() + 1, v1.data() + 1, y1.data() + 1, lse.data(), shape, scratch.data(),
                                     workers);
    CHECK(values(y1) == y.to_vector());
    CHECK(values(dq1) == q.grad().to_vector());
    CHECK(values(dk1) == k.grad().to_vector());
    CHECK(values(dv1) == v.grad().to_vector());
  }
}
