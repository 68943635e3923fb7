// fonts-noto-color-emoji has the pictures, unicode-cldr-core their names and keywords, by code points.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <pugixml.hpp>
#include <sstream>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "tools/make_clipart/cleaning.hpp"
#include "tools/make_clipart/emoji_font.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

struct Annotation {
  std::string name;
  std::vector<std::string> keywords;
};

std::u32string code_points(std::string_view text) {
  std::u32string points;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    check(length > 0, "make_clipart", "expected UTF-8, got '", printable(text), "'");
    auto point =
        static_cast<char32_t>(static_cast<unsigned char>(text[0]) & (length == 1 ? 0x7F : 0xFF >> (length + 1)));
    for (std::size_t i = 1; i < length; ++i) point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
    points += point;
    text.remove_prefix(length);
  }
  return points;
}

/// Keywords stand in one string, "a | b"; the name in an element of its own, of type "tts".
void read_annotations(const fs::path& path, std::map<std::u32string, Annotation>& annotations) {
  const std::string text = read_file(path, std::uint64_t{1} << 28);
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  check(parsed, "make_clipart", quoted(path), " is not valid XML: ", parsed.description());
  for (const pugi::xml_node& node : document.child("ldml").child("annotations").children("annotation")) {
    Annotation& annotation = annotations[code_points(node.attribute("cp").value())];
    if (node.attribute("type")) {
      annotation.name = node.text().get();
      continue;
    }
    std::istringstream keywords(node.text().get());
    for (std::string keyword; std::getline(keywords, keyword, '|');) {
      const std::size_t first = keyword.find_first_not_of(' '), last = keyword.find_last_not_of(' ');
      if (first != keyword.npos) annotation.keywords.push_back(keyword.substr(first, last - first + 1));
    }
  }
}

bool has_skin_tone(std::u32string_view text) {
  return text.size() > 1 &&
         std::any_of(text.begin(), text.end(), [](char32_t c) { return c >= 0x1F3FB && c <= 0x1F3FF; });
}

/// The same for a man, a woman, and a person who does something.
std::string concept_of(std::u32string_view text) {
  std::string key = "emoji";
  for (char32_t c : text) {
    if (c == 0x200D || c == 0x2640 || c == 0x2642 || c == 0xFE0F) continue;  // joiner, female, male, variant
    if (c == 0x1F468 || c == 0x1F469) c = 0x1F9D1;                           // man, woman: adult
    if (c == 0x1F466 || c == 0x1F467) c = 0x1F9D2;                           // boy, girl: child
    key += ' ' + std::to_string(static_cast<unsigned>(c));
  }
  return key;
}

}  // namespace

std::vector<Clipart> read_emoji(const fs::path& packages, LeftOut& left_out) {
  const fs::path font_path = packages / "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
                 common = packages / "usr/share/unicode/cldr/common";
  check(fs::exists(font_path), "make_clipart", "expected ", quoted(font_path), ": unpack fonts-noto-color-emoji into ",
        quoted(packages));
  check(fs::is_directory(common), "make_clipart", "expected ", quoted(common), ": unpack unicode-cldr-core into ",
        quoted(packages));
  std::map<std::u32string, Annotation> annotations;
  for (const char* folder : {"annotations", "annotationsDerived"})
    read_annotations(common / folder / "en.xml", annotations);

  const auto font = std::make_shared<EmojiFont>(font_path);
  std::vector<Clipart> pictures;
  for (const auto& [text, annotation] : annotations) {
    if (has_skin_tone(text)) {
      ++left_out["an emoji of another skin tone"];
      continue;
    }
    const auto png = font->png(text);
    if (png.empty() || annotation.name.empty()) {
      ++left_out["a character without an emoji"];
      continue;
    }
    Clipart c;
    c.name = "emoji";
    for (const char32_t point : text) {
      char hex[12];
      std::snprintf(hex, sizeof hex, "-%04x", static_cast<unsigned>(point));
      c.name += hex;
    }
    const bool flag = annotation.name.starts_with("flag: ");
    c.title = flag ? "flag of " + annotation.name.substr(6) : annotation.name;
    c.keywords = clean_keywords(annotation.keywords);
    c.folder = flag ? "flags" : "emoji";
    c.concept_name = concept_of(text);
    c.read = [font, png, name = c.name] { return decode_image(png, name); };
    pictures.push_back(std::move(c));
  }
  return pictures;
}

}  // namespace clip
