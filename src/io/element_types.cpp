#include "src/io/element_types.hpp"

#include <cstring>
#include <utility>

#include "clip/core/error.hpp"

namespace clip {
namespace {

constexpr std::pair<std::string_view, std::size_t> sizes[] = {
    {"F32", 4}, {"BF16", 2}, {"F16", 2},     {"F64", 8},     {"I64", 8},    {"I32", 4},
    {"I16", 2}, {"I8", 1},   {"U8", 1},      {"BOOL", 1},    {"U16", 2},    {"U32", 4},
    {"U64", 8}, {"C64", 8},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};
constexpr std::pair<std::string_view, dtype> dtypes[] = {{"F32", dtype::f32}, {"BF16", dtype::bf16},
                                                         {"F16", dtype::f16}, {"I32", dtype::i32},
                                                         {"I64", dtype::i64}, {"U8", dtype::u8}};

}  // namespace

std::size_t size_of_element(std::string_view type) {
  for (const auto& [name, bytes] : sizes)
    if (name == type) return bytes;
  return 0;
}

std::string_view element_type_of(dtype wanted) {
  for (const auto& [name, type] : dtypes)
    if (type == wanted) return name;
  return {};
}

Tensor tensor_of(const TensorInfo& info, std::span<const std::byte> bytes, const std::filesystem::path& file) {
  if (info.type == "F64") {
    Tensor tensor(info.shape);
    float* out = tensor.mutable_data<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      double value;
      std::memcpy(&value, bytes.data() + i * 8, sizeof value);
      out[i] = static_cast<float>(value);
    }
    return tensor;
  }
  for (const auto& [name, type] : dtypes)
    if (name == info.type) {
      Tensor tensor(info.shape, type);
      if (!bytes.empty()) std::memcpy(tensor.mutable_raw(), bytes.data(), bytes.size());
      return tensor;
    }
  fail("weights", "tensor '", printable(info.name), "' of ", quoted(file), " is ", info.type,
       ", which cannot be read: only F64, F32, BF16, F16, I64, I32 and U8");
}

}  // namespace clip
