#pragma once
// NumPy's array files (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#include <filesystem>

#include "clip/core/tensor.hpp"
#include "clip/io/file.hpp"

namespace clip {

/// Writes `tensor`, f32 or i32, as a `.npy` file, version 1.0: `<f4` or `<i4` in C order; durably, as `NewFile` does.
/// Throws on other dtypes.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

/// The same into a file that is committed later, with others.
void write_npy(NewFile& file, const Tensor& tensor);

/// Reads what `write_npy` or NumPy wrote: `<f4` or `<i4` in C order, at most 8 dimensions. Throws on anything else.
Tensor read_npy(const std::filesystem::path& path);

}  // namespace clip
