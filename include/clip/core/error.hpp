#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace clip {

/// The one exception of the library. Its message stands alone: `[op] expected …, got …`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws `Error` with the message `[where] ` followed by all parts, as `operator<<` prints them.
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(std::string_view where, const Parts&... parts) {
  std::ostringstream message;
  message << '[' << where << "] ";
  (message << ... << parts);
  throw Error(message.str());
}

/// Throws as `fail` does unless `ok`. Parts are formatted only on failure.
template <class... Parts>
inline void check(bool ok, std::string_view where, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(where, parts...);
}

}  // namespace clip
