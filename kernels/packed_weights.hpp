#pragma once
#include <memory>

namespace clip::kernels::cpu {

/// Copies of weights in the layouts oneDNN likes best, made at their first use. They belong beside the memory that
/// holds the weights and must be thrown away when it is written to. Several threads may use one.
class PackedWeights;

/// An empty one; `void` for `Storage::derived`.
std::shared_ptr<void> make_packed_weights();

}  // namespace clip::kernels::cpu
