#pragma once

#include <cstddef>

namespace clip::test {

/// Whether sanitizers watch this build, which is ten times slower then and more.
#ifdef CLIP_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// The length of a long input: where sanitizers watch, a tenth.
constexpr std::size_t shorter(std::size_t length) { return sanitized ? length / 10 : length; }

/// Whether a block of 4096 code points is tested: all are, or, where sanitizers watch, the first two planes and two
/// more.
constexpr bool tests_block(std::size_t block) { return !sanitized || block < 0x20 || block == 0x2f || block == 0xe0; }

}  // namespace clip::test
