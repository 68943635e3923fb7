#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

namespace clip {

/// The extents of a dense row-major tensor, at most 8 of them, none negative. Rank 0 is a scalar.
class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() = default;
  /// Throws on more than 8 extents, on a negative one, and when the product of those that are not 0 overflows 63 bits.
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t numel() const { return numel_; }
  /// Extent of dimension `dim`; negative counts from the end. Throws when out of range.
  std::int64_t operator[](int dim) const { return extents_[static_cast<std::size_t>(index(dim))]; }
  /// `dim` as a number in [0, rank). Throws, in the name of `op`, when out of range.
  int index(int dim, const char* op = "shape") const {
    const int i = dim < 0 ? dim + rank_ : dim;
    if (i < 0 || i >= rank_) [[unlikely]]
      bad_dimension(dim, op);
    return i;
  }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }

  /// This shape with the extent of `dim` replaced, removed, or inserted before `dim`.
  Shape with(int dim, std::int64_t extent) const;
  Shape without(int dim) const;
  Shape inserted(int dim, std::int64_t extent) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(a.rank_); ++i)
      if (a.extents_[i] != b.extents_[i]) return false;
    return true;
  }

 private:
  [[noreturn]] void bad_dimension(int dim, const char* op) const;

  std::array<std::int64_t, max_rank> extents_{};
  std::int64_t numel_ = 1;
  int rank_ = 0;
};

/// All dimensions but the last as rows: [a, b, c] is a*b rows of c columns; a scalar is one row of one.
struct Rows {
  std::int64_t rows, cols;
};
Rows as_rows(const Shape& shape);

/// A shape around one of its dimensions: [outer, extent, inner].
struct DimSplit {
  std::int64_t outer, extent, inner;
};
DimSplit split_at(const Shape& shape, int dim);

/// Prints `[2, 3]`.
std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace clip
