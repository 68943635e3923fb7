#include "clip/core/index_fault.hpp"

#include <string>

#include "clip/core/error.hpp"

namespace clip {
namespace {

/// The coordinates of an element, as `[1, 5]`.
std::string coordinates(const Shape& shape, std::int64_t position) {
  std::string text = "]";
  for (int d = shape.rank() - 1; d >= 0; --d) {
    text.insert(0, (d > 0 ? ", " : "") + std::to_string(position % shape[d]));
    position /= shape[d];
  }
  return "[" + text;
}

}  // namespace

void IndexCheck::raise(std::int64_t position, std::int64_t value) const {
  fail(op, "expected ", expected.data(), ", got ", value, " at ", coordinates(shape, position));
}

}  // namespace clip
