#pragma once
// Exact search in a matrix of rows by dot products, in f32.
//
// A score depends on its query and its row alone: not on the other queries, the place of the row or the number of
// threads. So results are the same however the work is split, equal rows have equal scores, and a rank counted here is
// the rank found there. Rows are f32, or f16 widened exactly; all must pass `first_unsearchable`. With f16 rows no
// number of a query may reach 32768. Rows of bytes stand for (byte - 128) times a factor of their own.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

/// queries [queries, cols] in f32, rows [rows, cols] of T. 0 < k <= rows.
struct TopKShape {
  std::int64_t queries, rows, cols, k = 1;
};

/// A number of workers, and bytes of scratch for each. A kernel runs `workers` at a time; how many changes no result.
struct TopKScratch {
  std::int64_t workers, bytes;
  std::int64_t total() const { return workers * bytes; }
};

namespace cpu {

TopKScratch top_k_scratch(const TopKShape& shape);

/// The k rows of the largest scores for each query, the best first, of equal ones the lower row first: [queries, k].
/// `factors` [rows] are those of bytes, which T is then; else null.
template <class T>
void top_k(float* scores, std::int64_t* indices, const float* queries, const T* rows, const float* factors,
           const TopKShape& shape, void* scratch, std::int64_t workers);

/// How many rows score at least `least[q]` for query q. Scratch as for `top_k`.
template <class T>
void count_at_least(std::int64_t* counts, const float* least, const float* queries, const T* rows,
                    const TopKShape& shape, void* scratch, std::int64_t workers);

/// The score of one query and one row.
template <class T>
float score_of(const float* query, const T* row, std::int64_t cols);

/// The first row whose squared length is not finite in f32 (as are those with NaN or infinity); -1 when there is none.
/// The scores of all others are finite.
template <class T>
std::int64_t first_unsearchable(const T* rows, std::int64_t count, std::int64_t cols);

}  // namespace cpu

namespace cuda {

/// These do as those for the CPU, but a score is one chain of multiply-adds, rounded once each, over the columns in
/// order; of bytes, its product with the factor. Fewer than 2^32 rows.

/// Bytes of scratch for `top_k` and `count_at_least`.
std::int64_t top_k_scratch(const TopKShape& shape);

template <class T>
void top_k(float* scores, std::int64_t* indices, const float* queries, const T* rows, const float* factors,
           const TopKShape& shape, void* scratch, Stream stream);
template <class T>
void count_at_least(std::int64_t* counts, const float* least, const float* queries, const T* rows,
                    const TopKShape& shape, void* scratch, Stream stream);

/// scores[i] = the score of the query and the row that pairs[2 i] and pairs[2 i + 1] number.
template <class T>
void scores_of(float* scores, const std::int64_t* pairs, std::int64_t count, const float* queries, const T* rows,
               std::int64_t cols, Stream stream);

inline constexpr std::int64_t unsearchable_blocks = 528;
/// first[0] is what the CPU's returns; scratch [unsearchable_blocks].
template <class T>
void first_unsearchable(std::int64_t* first, const T* rows, std::int64_t count, std::int64_t cols,
                        std::int64_t* scratch, Stream stream);

}  // namespace cuda
}  // namespace clip::kernels
