#pragma once
// The element types of files of weights, under the names that safetensors gives them.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "clip/io/safetensors.hpp"

namespace clip {

/// Bytes of one element; 0 when no type is called so.
std::size_t size_of_element(std::string_view type);
std::string_view element_type_of(dtype type);

/// A tensor on the CPU of what a file has, dense, at `bytes`; F64 becomes f32. Throws, naming `file`, on types that
/// have no dtype here.
Tensor tensor_of(const TensorInfo& info, std::span<const std::byte> bytes, const std::filesystem::path& file);

}  // namespace clip
