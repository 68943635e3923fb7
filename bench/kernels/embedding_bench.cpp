// Bound by memory: forward reads and writes the rows chosen, backward reads their gradients and writes the whole
// table's.
#include "kernels/embedding.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t entries = 30522, rows = 65536, cols = 768;  // BERT's table

std::vector<std::int64_t> random_ids() {
  std::vector<std::int64_t> ids;
  for (std::uint64_t i = 0; i < rows; ++i) ids.push_back(philox(1, i)[0] % entries);
  return ids;
}

template <class T>
void embedding_forward(benchmark::State& state) {
  Random random(1);
  const Tensor table = randn({entries, cols}, random, dtype_of<T>);
  const std::vector<std::int64_t> ids = random_ids();
  Tensor y({rows, cols}, dtype_of<T>);
  constexpr auto row_bytes = cols * static_cast<std::int64_t>(sizeof(T));
  void* out = y.mutable_raw();
  report_bandwidth(state, 2 * rows * row_bytes,
                   [&] { kernels::cpu::embedding_forward(out, table.raw(), ids.data(), rows, row_bytes); });
}
BENCHMARK(embedding_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(embedding_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void embedding_backward(benchmark::State& state) {
  Random random(1);
  const Tensor dy = randn({rows, cols}, random, dtype_of<T>);
  const std::vector<std::int64_t> ids = random_ids();
  Tensor dtable({entries, cols}, dtype_of<T>), scratch({entries + 1 + rows}, dtype::i64);
  T* out = dtable.mutable_data<T>();
  auto* order = scratch.mutable_data<std::int64_t>();
  report_bandwidth(state, (rows + entries) * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    kernels::cpu::embedding_backward(out, dy.data<T>(), ids.data(), entries, rows, cols, order);
  });
}
BENCHMARK(embedding_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(embedding_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
