#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "clip/io/file.hpp"

namespace clip {

/// The bitmaps of a font such as Noto Color Emoji: PNG files in its tables CBLC and CBDT (index format 1, image format
/// 17), found by code points through cmap (format 12) and the ligatures of GSUB.
/// https://learn.microsoft.com/typography/opentype/spec/
class EmojiFont {
 public:
  /// Throws on what is no such font.
  explicit EmojiFont(const std::filesystem::path& path);

  /// The PNG of a sequence of code points that has a glyph of its own; empty when it has none.
  std::span<const std::byte> png(std::u32string_view text) const;

 private:
  class Reader;
  void read_cmap(const Reader& table);
  void read_ligatures(const Reader& table);
  void read_bitmaps(const Reader& index, const Reader& data);

  using Glyph = std::uint16_t;
  MappedFile file_;
  std::map<char32_t, Glyph> glyphs_;
  std::map<std::vector<Glyph>, Glyph> ligatures_;
  std::map<Glyph, std::span<const std::byte>> bitmaps_;
};

}  // namespace clip
