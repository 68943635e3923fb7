#include "tools/make_clipart/cleaning.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "clip/core/random.hpp"
#include "clip/io/hash.hpp"
#include "clip/io/lines.hpp"

namespace clip {
namespace {

using namespace std::string_view_literals;

struct Series {
  std::string_view folder;
  const char* why;
};
constexpr Series series[] = {
    {"shapes/stars", "a star by its number of points"},
    {"recreation/games/cards", "a playing card"},
    {"special/gradients", "a gradient"},
    {"special/patterns", "a pattern"},
    {"shapes/arrows", "an arrow among arrows"},
    {"signs_and_symbols/led", "a number of LEDs"},
    {"shapes/jigsaw", "a piece of a jigsaw"},
};

// Titles that name a collection begin with one of these, or hold one of those.
constexpr std::string_view collection_begins[] = {"Clipart by", "Part of the", "Various Cliparts", "R16 "};
constexpr std::string_view collection_holds[] = {"theme",      "Theme",        "iconset", "Icons",   "Clipart",
                                                 "submission", "Symbol_Signs", "SVG",     "RPG map", "body part"};

constexpr std::string_view empty_keywords[] = {
    "hash",           "magick",     "unsorted",    "lemon_theme_icon",
    "theme",          "mapsym",     "clip_art",    "clipart",
    "icons",          "vector",     "svg",         "networksym",
    "appicon",        "gold_theme", "subnational", "united_nations_member",
    "externalsource", "inkscape",   "image",       "png",
    "public_domain",
};

// Folders that say nothing of what is in them.
constexpr std::string_view empty_folders[] = {"unsorted",    "duplicates",      "special", "examples",  "flat-theme",
                                              "lemon-theme", "etiquette-theme", "cartoon", "mimetypes", "filesystems"};

// What stands in file names and says nothing: "aiga" made signs, "bw" is black and white,
// "fc" a flow chart, "sm" a stick man.
constexpr std::string_view variants[] = {"aiga", "bw", "fc", "sm", "01r", "02r"};

constexpr std::size_t most_keywords = 6;

template <class Table>
bool contains(const Table& table, std::string_view word) {
  return std::find(std::begin(table), std::end(table), word) != std::end(table);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += lower(c);
  return out;
}
bool number(std::string_view word) { return std::all_of(word.begin(), word.end(), is_digit); }

/// Cut at anything that is neither letter nor digit; what is no ASCII counts as a letter.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char c : text) {
    const bool part = std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 128;
    if (part && !inside) words.emplace_back();
    if (part) words.back() += c;
    inside = part;
  }
  return words;
}

std::string join(std::span<const std::string> parts, std::string_view between) {
  std::string text;
  for (const std::string& part : parts) text.append(text.empty() ? ""sv : between).append(part);
  return text;
}

std::string spaced(std::string text) {
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

/// One space between words, none around them.
std::string trimmed(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (std::isspace(static_cast<unsigned char>(c)) == 0)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

Words::Words(std::span<const std::filesystem::path> lists) {
  for (const std::filesystem::path& list : lists) {
    std::unordered_set<std::string> words;
    for (const std::string& line : read_lines(list)) words.insert(lower(line));
    if (&list == lists.data()) common_ = words;
    std::erase_if(common_, [&](const std::string& word) { return !words.contains(word); });
    words_.merge(words);
  }
}

bool Words::know(std::string_view text) const {
  const std::vector<std::string> words = words_of(text);
  const auto known = [&](const std::string& word) { return number(word) || words_.contains(lower(word)); };
  return std::all_of(words.begin(), words.end(), known) && !std::all_of(words.begin(), words.end(), number);
}

std::string Words::apart(std::string_view text) const {
  constexpr std::size_t shortest = 4;
  std::vector<std::string> words;
  for (const std::string& word : words_of(text)) {
    const std::string small = lower(word);
    std::size_t best = 0;
    for (std::size_t cut = shortest; !words_.contains(small) && cut + shortest <= small.size(); ++cut)
      if (common_.contains(small.substr(0, cut)) && common_.contains(small.substr(cut)) &&
          (best == 0 || small[cut - 1] != 's'))  // "file share" rather than "files hare"
        best = cut;
    words.push_back(best == 0 ? word : word.substr(0, best) + ' ' + word.substr(best));
  }
  return join(words, " ");
}

const char* series_of(std::string_view folder) {
  for (const Series& s : series)
    if (folder.starts_with(s.folder)) return s.why;
  return nullptr;
}

bool is_collection(std::string_view title) {
  const auto begins = [&](std::string_view part) { return title.starts_with(part); };
  const auto holds = [&](std::string_view part) { return title.find(part) != title.npos; };
  return std::any_of(std::begin(collection_begins), std::end(collection_begins), begins) ||
         std::any_of(std::begin(collection_holds), std::end(collection_holds), holds);
}

bool is_flags(std::string_view folder) { return folder.find("/flags") != folder.npos; }

std::string flag_of(const std::string& place) {
  return lower(place).find("flag") == std::string::npos ? "flag of " + place : place;
}

std::vector<std::string> clean_keywords(std::span<const std::string> keywords) {
  std::vector<std::string> kept;
  for (const std::string& keyword : keywords) {
    const std::string word = trimmed(spaced(keyword));
    if (word.empty() || word.starts_with("HASH(0x") || contains(empty_keywords, lower(keyword)) || number(word))
      continue;
    if (std::find(kept.begin(), kept.end(), word) == kept.end()) kept.push_back(word);
  }
  return kept;
}

std::string clean_title(std::string_view title) {
  std::string text = trimmed(spaced(std::string(title)));
  const auto last = [&](auto&& drop) { return !text.empty() && drop(text.back()); };
  while (last(is_digit) && text.find(' ') != text.npos && number(text.substr(text.rfind(' ') + 1)))
    text = trimmed(text.substr(0, text.rfind(' ')));
  while (last([](char c) { return c == '.' || c == '-' || c == ',' || c == '#' || c == ' '; })) text.pop_back();
  return text;
}

bool same_words(std::string_view a, std::string_view b) { return lower(a) == lower(b); }

std::string title_of_stem(std::string_view stem, std::string_view author) {
  std::vector<std::string> kept;
  const std::vector<std::string> names = words_of(lower(author));
  for (std::string word : words_of(spaced(std::string(stem)))) {
    word = lower(word);
    while (!word.empty() && is_digit(word.back()) && !number(word)) word.pop_back();
    // file names are cut at 25 characters, and so are authors in them
    const auto of_author = [&](const std::string& name) { return word.size() > 1 && name.starts_with(word); };
    if (number(word) || contains(variants, word) || std::any_of(names.begin(), names.end(), of_author)) continue;
    kept.push_back(word);
  }
  return join(kept, " ");
}

std::string flat_name(std::string_view source, std::filesystem::path file) {
  std::string name = std::string(source) + '-' + file.replace_extension().string();
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') c = '-';
  return name;
}

bool adds_to_folder(std::string_view keyword, std::string_view folder) {
  return lower(folder).find(lower(keyword)) == std::string::npos;
}

std::string folder_words(const std::filesystem::path& folder) {
  std::vector<std::string> kept;
  for (const auto& part : folder) {
    std::string words = part.string();
    if (contains(empty_folders, words)) continue;
    words = trimmed(spaced(words));
    while (!words.empty() && (is_digit(words.front()) || words.front() == ' ')) words.erase(0, 1);  // "00_symbols"
    if (!words.empty()) kept.push_back(words);
  }
  std::reverse(kept.begin(), kept.end());
  return join(kept, ", ");
}

std::vector<std::string> captions_of(const Clipart& picture) {
  std::vector<std::string> keywords;
  for (const std::string& keyword : picture.keywords)
    if (keywords.size() < most_keywords && !same_words(keyword, picture.title)) keywords.push_back(keyword);
  const std::string words = join(keywords, ", "), name = picture.title.empty() ? words : picture.title;
  std::vector<std::string> captions;
  const auto add = [&](const std::string& caption) {
    if (!caption.empty() && std::find(captions.begin(), captions.end(), caption) == captions.end())
      captions.push_back(caption);
  };
  add(name);
  if (!words.empty() && name != words) add(name + ", " + words);
  if (!picture.folder.empty() && !name.empty()) add(name + "; " + picture.folder);
  return captions;
}

std::vector<std::string> captions_to_train_on(const Clipart& picture) {
  std::vector<std::string> captions = captions_of(picture), parts;
  const auto add = [](std::vector<std::string>& list, const std::string& text) {
    if (!text.empty() && std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
  };
  for (const std::string& caption : captions)
    for (std::size_t from = 0; from < caption.size();) {
      const std::size_t to = std::min(caption.find_first_of(",;", from), caption.size());
      add(parts, trimmed(caption.substr(from, to - from)));
      from = to + 1;
    }
  if (parts.size() < 2) return captions;
  const std::uint64_t seed = content_hash(picture.name);
  for (std::uint64_t draw = 0; draw < 12; ++draw) {
    const auto words = philox(seed, 2 * draw), places = philox(seed, 2 * draw + 1);
    const std::size_t count = 1 + words[0] % std::min<std::size_t>(parts.size(), 4);
    std::vector<std::string> chosen = parts;
    for (std::size_t i = 0; i < count; ++i) std::swap(chosen[i], chosen[i + places[i] % (chosen.size() - i)]);
    add(captions, join(std::span(chosen).first(count), ", "));
  }
  return captions;
}

}  // namespace clip
