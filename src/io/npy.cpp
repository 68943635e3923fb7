#include "clip/io/npy.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "clip/io/file.hpp"
#include "clip/ops/cast.hpp"

namespace clip {
namespace {

constexpr std::string_view magic("\x93NUMPY\x01\x00", 8);
constexpr std::size_t prefix = 10;  // magic, version, and 16 bits for the header's length

/// Takes `text` off the front of `rest`, and spaces after it.
bool take(std::string_view& rest, std::string_view text) {
  if (!rest.starts_with(text)) return false;
  rest.remove_prefix(text.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return true;
}

}  // namespace

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  NewFile file(path);
  write_npy(file, tensor);
  file.commit();
}

void write_npy(NewFile& file, const Tensor& tensor) {
  check(tensor.dtype() == dtype::f32 || tensor.dtype() == dtype::i32, "npy", "cannot write ", tensor.dtype(),
        ": expected f32 or i32");
  std::string shape;
  for (const std::int64_t extent : tensor.shape()) shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
  std::string header = std::string("{'descr': '") + (tensor.dtype() == dtype::f32 ? "<f4" : "<i4") +
                       "', 'fortran_order': False, 'shape': (" + shape + (tensor.rank() == 1 ? ",), }" : "), }");
  header.resize((prefix + header.size() + 1 + 63) / 64 * 64 - prefix, ' ');  // the elements start at a multiple of 64
  header.back() = '\n';

  const Tensor host = to(tensor.detach(), Device{});
  file.write(magic);
  file.write(std::string{static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)});
  file.write(header);
  file.write({static_cast<const std::byte*>(host.raw()), host.bytes()});
}

Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  check(content.starts_with(magic) && content.size() >= prefix, "npy", quoted(path), " is no .npy file of version 1.0");
  const auto length =
      static_cast<std::size_t>(static_cast<unsigned char>(content[8]) | (static_cast<unsigned char>(content[9]) << 8));
  check(content.size() >= prefix + length, "npy", quoted(path), " is cut off");
  std::string_view header = content.substr(prefix, length), data = content.substr(prefix + length);

  const bool begins = take(header, "{") && take(header, "'descr':");
  const bool floats = begins && take(header, "'<f4'");
  bool good = begins && (floats || take(header, "'<i4'")) && take(header, ",") && take(header, "'fortran_order':") &&
              take(header, "False") && take(header, ",") && take(header, "'shape':") && take(header, "(");
  std::vector<std::int64_t> extents;
  while (good && !take(header, ")")) {
    const std::size_t digits = std::min(header.find_first_not_of("0123456789"), header.size());
    good = digits > 0 && digits <= 18 && extents.size() < Shape::max_rank;
    if (!good) break;
    extents.push_back(std::stoll(std::string(header.substr(0, digits))));
    header.remove_prefix(digits);
    good = take(header, ",") || header.starts_with(")");
  }
  check(good, "npy", "expected '<f4' or '<i4' in C order with at most 8 dimensions in ", quoted(path), ", got ",
        printable(content.substr(prefix, length)));

  std::uint64_t bytes = 4;
  bool fits = true;
  for (const std::int64_t extent : extents)
    fits = fits && !__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes);
  check(fits && bytes == data.size(), "npy", quoted(path), " should have ", fits ? std::to_string(bytes) : "fewer",
        " bytes after its header, but has ", data.size());
  Tensor tensor(Shape(extents), floats ? dtype::f32 : dtype::i32);
  if (bytes > 0) std::memcpy(tensor.mutable_raw(), data.data(), data.size());
  return tensor;
}

}  // namespace clip
