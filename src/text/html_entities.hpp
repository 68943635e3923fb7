#pragma once
// The named characters of HTML, in a table written by tests/reference/clip_characters.py.
#include <cstdint>
#include <span>
#include <string_view>

namespace clip {

struct HtmlEntity {
  enum Form : std::uint8_t {
    bare,    ///< also without its semicolon
    closed,  ///< only with it
    upper,   ///< a capitalised form that only ftfy knows
  };
  std::string_view name;  ///< without & and ;
  std::string_view text;  ///< UTF-8
  Form form;
};

extern const std::span<const HtmlEntity> html_entities;  ///< sorted by name

}  // namespace clip
