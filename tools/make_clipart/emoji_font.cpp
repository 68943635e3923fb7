#include "tools/make_clipart/emoji_font.hpp"

#include "clip/core/error.hpp"

namespace clip {

/// Big-endian numbers at offsets of a table.
class EmojiFont::Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::filesystem::path& path) : bytes_(bytes), path_(path) {}
  std::span<const std::byte> bytes(std::size_t offset, std::size_t count) const {
    check(offset <= bytes_.size() && count <= bytes_.size() - offset, "font", quoted(path_),
          " is damaged: a table reaches beyond its end");
    return bytes_.subspan(offset, count);
  }
  std::uint32_t number(std::size_t offset, std::size_t count) const {
    std::uint32_t value = 0;
    for (const std::byte b : bytes(offset, count)) value = value << 8 | std::to_integer<std::uint32_t>(b);
    return value;
  }
  std::uint16_t u16(std::size_t offset) const { return static_cast<std::uint16_t>(number(offset, 2)); }
  std::uint32_t u32(std::size_t offset) const { return number(offset, 4); }
  Reader from(std::size_t offset) const {
    return {bytes(offset, bytes_.size() - std::min(offset, bytes_.size())), path_};
  }
  Reader table(std::string_view tag) const {
    for (std::size_t i = 0; i < u16(4); ++i) {
      const auto name = bytes(12 + 16 * i, 4);
      if (std::string_view(reinterpret_cast<const char*>(name.data()), 4) == tag)
        return {bytes(u32(12 + 16 * i + 8), u32(12 + 16 * i + 12)), path_};
    }
    fail("font", "expected a font with bitmaps, but ", quoted(path_), " has no table ", tag);
  }
  [[noreturn]] void unknown(const char* what, unsigned got) const {
    fail("font", quoted(path_), ": expected ", what, ", got ", got);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::filesystem::path& path_;
};

EmojiFont::EmojiFont(const std::filesystem::path& path) : file_(path) {
  const Reader font(file_.bytes(), file_.path());
  read_cmap(font.table("cmap"));
  read_ligatures(font.table("GSUB"));
  read_bitmaps(font.table("CBLC"), font.table("CBDT"));
}

void EmojiFont::read_cmap(const Reader& table) {
  for (std::size_t i = 0; i < table.u16(2); ++i) {
    const Reader map = table.from(table.u32(4 + 8 * i + 4));
    if (map.u16(0) != 12) continue;
    std::uint32_t next = 0;  // groups ascend, so that a damaged file cannot name code points without end
    for (std::size_t g = 0; g < map.u32(12); ++g) {
      const std::uint32_t first = map.u32(16 + 12 * g), last = map.u32(20 + 12 * g), glyph = map.u32(24 + 12 * g);
      if (first < next || last < first || last > 0x10FFFF) table.unknown("ascending code points", last);
      next = last + 1;
      for (std::uint32_t c = first; c <= last; ++c) glyphs_[c] = static_cast<Glyph>(glyph + c - first);
    }
  }
}

void EmojiFont::read_ligatures(const Reader& table) {
  const Reader lookups = table.from(table.u16(8));
  constexpr unsigned most_ligatures = 1 << 18;
  unsigned count = 0;
  for (std::size_t i = 0; i < lookups.u16(0); ++i) {
    const Reader lookup = lookups.from(lookups.u16(2 + 2 * i));
    if (lookup.u16(0) != 4) continue;  // no ligatures, but what to show for sequences that have no glyph
    for (std::size_t s = 0; s < lookup.u16(4); ++s) {
      const Reader part = lookup.from(lookup.u16(6 + 2 * s)), coverage = part.from(part.u16(2));
      std::vector<Glyph> firsts;
      for (std::size_t k = 0; k < coverage.u16(2); ++k)
        if (coverage.u16(0) == 1)
          firsts.push_back(coverage.u16(4 + 2 * k));
        else
          for (unsigned g = coverage.u16(4 + 6 * k); g <= coverage.u16(6 + 6 * k); ++g)
            firsts.push_back(static_cast<Glyph>(g));
      for (std::size_t k = 0; k < firsts.size() && k < part.u16(4); ++k) {
        const Reader set = part.from(part.u16(6 + 2 * k));
        for (std::size_t l = 0; l < set.u16(0); ++l) {
          const Reader ligature = set.from(set.u16(2 + 2 * l));
          if (++count > most_ligatures) table.unknown("fewer ligatures", count);
          std::vector<Glyph> sequence{firsts[k]};
          for (std::size_t c = 1; c < ligature.u16(2); ++c) sequence.push_back(ligature.u16(2 + 2 * c));
          ligatures_.emplace(std::move(sequence), ligature.u16(0));
        }
      }
    }
  }
}

void EmojiFont::read_bitmaps(const Reader& index, const Reader& data) {
  if (index.u32(4) == 0) index.unknown("bitmaps", 0);
  const Reader strike = index.from(index.u32(8));  // the first size; fonts of emoji have one
  unsigned next = 0;
  for (std::size_t i = 0; i < index.u32(16); ++i) {
    const std::uint16_t first = strike.u16(8 * i), last = strike.u16(8 * i + 2);
    const Reader part = strike.from(strike.u32(8 * i + 4));
    if (last < first || first < next) part.unknown("ascending glyphs", first);
    next = last + 1U;
    if (part.u16(0) != 1) part.unknown("bitmaps indexed in format 1", part.u16(0));
    if (part.u16(2) != 17) part.unknown("bitmaps in format 17", part.u16(2));
    for (std::size_t g = first; g <= last; ++g) {
      const std::uint32_t begin = part.u32(8 + 4 * (g - first)), end = part.u32(8 + 4 * (g - first + 1));
      if (begin == end) continue;
      const Reader bitmap = data.from(std::size_t{part.u32(4)} + begin);
      bitmaps_[static_cast<Glyph>(g)] = bitmap.bytes(9, bitmap.u32(5));  // after five bytes of metrics
    }
  }
}

std::span<const std::byte> EmojiFont::png(std::u32string_view text) const {
  std::vector<Glyph> sequence;
  for (const char32_t c : text) {
    const auto glyph = glyphs_.find(c);
    if (glyph == glyphs_.end()) return {};
    sequence.push_back(glyph->second);
  }
  if (sequence.size() != 1) {
    const auto ligature = ligatures_.find(sequence);
    if (ligature == ligatures_.end()) return {};
    sequence = {ligature->second};
  }
  const auto bitmap = bitmaps_.find(sequence.front());
  return bitmap == bitmaps_.end() ? std::span<const std::byte>{} : bitmap->second;
}

}  // namespace clip
