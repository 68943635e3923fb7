#pragma once
// Rows of a table [entries, cols] chosen by ids [rows], each within [0, entries).
//   y[r] = table[ids[r]];   dtable[e] = sum of dy[r] over the r with ids[r] == e, in order, accumulated in f32
// T = float or bf16, on the GPU also f16; I = std::int32_t or std::int64_t.
#include <cstddef>
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// Rows of `row_bytes` bytes, whatever their element type.
template <class I>
void embedding_forward(void* y, const void* table, const I* ids, std::int64_t rows, std::int64_t row_bytes);

/// `scratch` holds entries + 1 + rows elements.
template <class T, class I>
void embedding_backward(T* dtable, const T* dy, const I* ids, std::int64_t entries, std::int64_t rows,
                        std::int64_t cols, std::int64_t* scratch);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class I>
void embedding_forward(void* y, const void* table, const I* ids, std::int64_t rows, std::int64_t row_bytes,
                       Stream stream);

/// Rows are sorted by id in chunks of 1024.
constexpr std::int64_t embedding_chunks(std::int64_t rows) { return (rows + 1023) / 1024; }
/// Elements of scratch that backward needs.
constexpr std::int64_t embedding_scratch(std::int64_t entries, std::int64_t rows) {
  return entries + 1 + rows + (embedding_chunks(rows) * entries + 1) / 2;
}

template <class T, class I>
void embedding_backward(T* dtable, const T* dy, const I* ids, std::int64_t entries, std::int64_t rows,
                        std::int64_t cols, std::int64_t* scratch, Stream stream);

}  // namespace clip::kernels::cuda
