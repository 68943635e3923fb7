#pragma once
#include <cstdint>

#include "clip/nn/module.hpp"
#include "clip/ops/embedding.hpp"

namespace clip {

/// A table of learnt rows: ids [..] to [.., size].
struct Embedding {
  Tensor weight;

  Embedding(std::int64_t count, std::int64_t size, Init init) : weight(init.normal({count, size}, 0.02f)) {}

  /// Throws as `embedding` does.
  Tensor operator()(const Tensor& ids) const { return embedding(weight, ids); }
  void visit(auto&& v) { v("weight", weight); }
};

}  // namespace clip
