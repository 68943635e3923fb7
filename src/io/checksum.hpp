#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace clip {

/// A checksum that finds accidents, not forgeries: any change within one aligned group of eight bytes changes it.
/// FNV-1a's step on words of 64 bits, in four chains, which keeps up with memory.
std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace clip
