// Backward sorts the rows by id (counting, stable), so that each entry of the table is summed in registers and written
// once, rounded once, and always in the same order. Threads share the columns: however often one id occurs (padding),
// they have equal work.
#include "kernels/embedding.hpp"

#include <cstring>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

template <class I>
void embedding_forward(void* y, const void* table, const I* ids, std::int64_t rows, std::int64_t row_bytes) {
  if (row_bytes == 0) return;
  auto* to = static_cast<char*>(y);
  const auto* from = static_cast<const char*>(table);
  parallel_rows(rows, row_bytes / 4, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      std::memcpy(to + r * row_bytes, from + ids[r] * row_bytes, static_cast<std::size_t>(row_bytes));
  });
}

namespace {

/// order[starts[e]] to order[starts[e + 1] - 1] are the rows whose id is e, ascending. `starts` has entries + 1
/// elements.
template <class I>
void sort_rows(std::int64_t* starts, std::int64_t* order, const I* ids, std::int64_t entries, std::int64_t rows) {
  std::fill(starts, starts + entries + 1, std::int64_t{0});
  for (std::int64_t r = 0; r < rows; ++r) ++starts[ids[r]];
  for (std::int64_t e = 1; e <= entries; ++e) starts[e] += starts[e - 1];  // now where each ends
  for (std::int64_t r = rows - 1; r >= 0; --r) order[--starts[ids[r]]] = r;
}

}  // namespace

template <class T, class I>
void embedding_backward(T* dtable, const T* dy, const I* ids, std::int64_t entries, std::int64_t rows,
                        std::int64_t cols, std::int64_t* scratch) {
  std::int64_t *starts = scratch, *order = scratch + entries + 1;
  sort_rows(starts, order, ids, entries, rows);
  const bool streamed = should_stream<T>(entries * cols);
  const std::int64_t grain = elements_per_thread / std::max<std::int64_t>(entries + rows, 1);
  parallel_for(
      cols, grain,
      [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t e = 0; e < entries; ++e) {
          const std::int64_t *first = order + starts[e], *last = order + starts[e + 1];
          T* out = dtable + e * cols;
          const bool aligned = streamed && can_stream(out + begin);
          std::int64_t c = begin;
          for (; c + lanes <= end; c += lanes) {
            f32x16 s = {};
            for (const std::int64_t* r = first; r != last; ++r) s += load(dy + *r * cols + c);
            if (aligned)
              stream(out + c, s);
            else
              store(out + c, s);
          }
          if (c == end) continue;
          f32x16 s = {};
          for (const std::int64_t* r = first; r != last; ++r) s += load(dy + *r * cols + c, end - c);
          store(out + c, s, end - c);
        }
      },
      64);
}

template void embedding_forward(void*, const void*, const std::int32_t*, std::int64_t, std::int64_t);
template void embedding_forward(void*, const void*, const std::int64_t*, std::int64_t, std::int64_t);
template void embedding_backward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*);
template void embedding_backward(float*, const float*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*);
template void embedding_backward(bf16*, const bf16*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*);
template void embedding_backward(bf16*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*);

}  // namespace clip::kernels::cpu
