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

}  // namespace clip::test
