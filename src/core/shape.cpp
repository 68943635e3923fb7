#include "clip/core/shape.hpp"

#include <ostream>

#include "clip/core/error.hpp"

namespace clip {

Shape::Shape(std::span<const std::int64_t> extents) {
  check(extents.size() <= max_rank, "shape", "expected at most ", max_rank, " dimensions, got ", extents.size());
  rank_ = static_cast<int>(extents.size());
  bool overflow = false, empty = false;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    check(extents[i] >= 0, "shape", "expected extents >= 0, got ", extents[i], " in dimension ", i);
    extents_[i] = extents[i];
    empty |= extents[i] == 0;
    overflow |= extents[i] != 0 && __builtin_mul_overflow(numel_, extents[i], &numel_);
  }
  if (empty) numel_ = 0;
  check(!overflow, "shape", "expected fewer than 2^63 elements, got ", *this);
}

void Shape::bad_dimension(int dim, const char* op) const {
  fail(op, "expected a dimension of ", *this, " (rank ", rank_, "), got ", dim);
}

Shape Shape::with(int dim, std::int64_t extent) const {
  std::array<std::int64_t, max_rank> extents = extents_;
  extents[static_cast<std::size_t>(index(dim))] = extent;
  return Shape(std::span(extents.data(), static_cast<std::size_t>(rank_)));
}

Shape Shape::without(int dim) const {
  std::array<std::int64_t, max_rank> extents{};
  const int removed = index(dim);
  for (int i = 0, j = 0; i < rank_; ++i)
    if (i != removed) extents[static_cast<std::size_t>(j++)] = extents_[static_cast<std::size_t>(i)];
  return Shape(std::span(extents.data(), static_cast<std::size_t>(rank_ - 1)));
}

Shape Shape::inserted(int dim, std::int64_t extent) const {
  check(rank_ < max_rank && dim >= 0 && dim <= rank_, "shape", "expected room and a place in ", *this, ", got ", dim);
  std::array<std::int64_t, max_rank> extents{};
  for (int i = 0, j = 0; j <= rank_; ++j)
    extents[static_cast<std::size_t>(j)] = j == dim ? extent : extents_[static_cast<std::size_t>(i++)];
  return Shape(std::span(extents.data(), static_cast<std::size_t>(rank_ + 1)));
}

Rows as_rows(const Shape& shape) {
  if (shape.rank() == 0) return {1, 1};
  const std::int64_t cols = shape[-1];
  std::int64_t rows = 1;
  for (int i = 0; i + 1 < shape.rank(); ++i) rows *= shape[i];
  return {rows, cols};
}

DimSplit split_at(const Shape& shape, int dim) {
  DimSplit split{1, shape[dim], 1};
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? split.outer : split.inner) *= d == dim ? 1 : shape[d];
  return split;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (const std::int64_t* extent = shape.begin(); extent != shape.end(); ++extent)
    out << (extent == shape.begin() ? "" : ", ") << *extent;
  return out << ']';
}

}  // namespace clip
