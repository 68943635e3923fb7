#include "src/data/listing.hpp"

#include <algorithm>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/data/csv.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

constexpr std::size_t most_problems = 1000;

std::string place(const std::filesystem::path& file, std::size_t line) {
  return line > 0 ? "line " + std::to_string(line) + " of " + quoted(file) : quoted(file);
}

/// A name is joined to a folder: it must not lead out of it.
void check_name(const std::string& name, const std::filesystem::path& file, std::size_t line) {
  const bool plain = name.find('/') == std::string::npos && name.find("..") == std::string::npos &&
                     name.find('\0') == std::string::npos && name != ".";
  check(plain, "flickr8k", "expected the name of a picture without folders in ", place(file, line), ", got '",
        printable(name), "'");
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void add(Listing& listing, std::string_view name, std::string_view caption, const std::filesystem::path& file,
         std::size_t line) {
  Listing::Row row{std::string(trimmed(name)), std::string(trimmed(caption))};
  check_name(row.picture, file, line);
  if (row.picture.empty() || row.caption.empty())
    return listing.report(file, line, row.picture.empty() ? "it names no picture" : "its caption is empty");
  listing.rows.push_back(std::move(row));
}

/// Calls `f(line, number)` for each line of a text that is not empty, without its end.
template <class F>
void for_lines(std::string_view text, const F& f) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!trimmed(line).empty()) f(line, number);
  }
}

}  // namespace

void Listing::report(const std::filesystem::path& file, std::size_t line, const std::string& what) {
  ++unreadable_rows;
  if (problems.size() < most_problems) problems.push_back({file, line, what});
}

Listing list_kaggle(std::string_view csv, const std::filesystem::path& file) {
  CsvRows rows(csv);
  const bool any = rows.next();
  check(any && rows.problem().empty(), "flickr8k", "expected a header 'image,caption' in ", quoted(file), ", got ",
        any ? rows.problem() : "nothing");
  std::vector<std::string> header = rows.fields();
  const auto column = [&](const char* name) {
    const auto is = [&](const std::string& field) { return trimmed(field) == name; };
    const auto found = std::count_if(header.begin(), header.end(), is);
    check(found == 1, "flickr8k", "expected one column '", name, "' in the header of ", quoted(file), ", line ",
          rows.line(), ", got ", found);
    return static_cast<std::size_t>(std::find_if(header.begin(), header.end(), is) - header.begin());
  };
  const std::size_t image = column("image"), caption = column("caption");
  Listing listing;
  while (rows.next(header.size()))
    if (rows.problem().empty())
      add(listing, rows.fields()[image], rows.fields()[caption], file, rows.line());
    else
      listing.report(file, rows.line(), rows.problem());
  return listing;
}

Listing list_tokens(std::string_view text, const std::filesystem::path& file) {
  Listing listing;
  for_lines(text, [&](std::string_view line, std::size_t number) {
    const std::size_t tab = line.find('\t'), hash = line.substr(0, tab).rfind('#');
    if (!is_utf8(line))
      listing.report(file, number, "it is not valid UTF-8: '" + printable(line) + "'");
    else if (tab == std::string_view::npos || hash == std::string_view::npos)
      listing.report(file, number, "expected 'name.jpg#0', a tab and a caption, got '" + printable(line) + "'");
    else
      add(listing, line.substr(0, hash), line.substr(tab + 1), file, number);
  });
  return listing;
}

Listing list_karpathy(std::string_view json, const std::filesystem::path& file) {
  const Json document = parse_json(json, file);
  const auto images = document.find("images");
  check(document.is_object() && images != document.end() && images->is_array(), "flickr8k",
        "expected a list 'images' in ", quoted(file));
  Listing listing;
  const auto text_of = [](const Json& object, const char* key) {
    const auto value = object.is_object() ? object.find(key) : object.end();
    return value != object.end() && value->is_string() ? value->get<std::string>() : std::string();
  };
  for (std::size_t i = 0; i < images->size(); ++i) {
    const Json& image = (*images)[i];
    const std::string name = text_of(image, "filename"), split = text_of(image, "split"),
                      where = "images[" + std::to_string(i) + "]: ";
    check_name(name, file, 0);
    const auto sentences = image.is_object() ? image.find("sentences") : image.end();
    if (name.empty() || sentences == image.end() || !sentences->is_array()) {
      listing.report(file, 0, where + "expected a text 'filename' and a list 'sentences'");
      continue;
    }
    if (split != "train" && split != "restval" && split != "val" && split != "test") {
      listing.report(file, 0,
                     where + "expected train, restval, val or test for 'split', got '" + printable(split) + "'");
      continue;
    }
    const Split known = split == "val" ? Split::val : split == "test" ? Split::test : Split::train;
    const auto [entry, is_new] = listing.splits.emplace(name, known);
    listing.duplicate_pictures += is_new ? 0 : 1;
    check(entry->second == known, "flickr8k", quoted(file), " has '", printable(name),
          "' in two splits: ", name_of(entry->second), " and ", name_of(known));
    for (std::size_t s = 0; s < sentences->size(); ++s) {
      const std::string caption(trimmed(text_of((*sentences)[s], "raw")));
      if (caption.empty())
        listing.report(file, 0, where + "expected a text 'raw' in sentences[" + std::to_string(s) + "]");
      else
        listing.rows.push_back({name, caption});
    }
  }
  return listing;
}

void list_split(Listing& listing, std::string_view text, const std::filesystem::path& file, Split split) {
  for_lines(text, [&](std::string_view line, std::size_t number) {
    const std::string name(trimmed(line));
    if (!is_utf8(name)) return listing.report(file, number, "it is not valid UTF-8: '" + printable(name) + "'");
    check_name(name, file, number);
    const auto [entry, is_new] = listing.splits.emplace(name, split);
    listing.duplicate_pictures += is_new ? 0 : 1;
    check(entry->second == split, "flickr8k", place(file, number), " has '", printable(name),
          "', which is in the list for ", name_of(entry->second), " too");
  });
}

}  // namespace clip
