#pragma once
// What tests ask of messages.
#include <string>

#include "clip/core/error.hpp"
#include "tests/support/catch.hpp"

namespace clip::test {

/// Whether `part` is in `text`. Shows the text when it is not.
inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  UNSCOPED_INFO("in: " << text);
  return false;
}

/// Whether `f` throws an `Error` whose message contains `part`. Shows any other message.
template <class F>
bool throws_with(const F& f, const std::string& part) {
  try {
    f();
  } catch (const Error& e) {
    return contains(e.what(), part);
  }
  UNSCOPED_INFO("threw nothing");
  return false;
}

}  // namespace clip::test
