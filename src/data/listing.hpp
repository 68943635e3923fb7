#pragma once
// What the files of a captioned data set say, before any picture is looked for.
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "clip/data/flickr8k.hpp"

namespace clip {

struct Listing {
  struct Row {
    std::string picture, caption;
  };
  std::vector<Row> rows;
  std::map<std::string, Split> splits;  // of the pictures, where the files say
  std::vector<Problem> problems;        // the first 1,000
  std::size_t unreadable_rows = 0, duplicate_pictures = 0;

  void report(const std::filesystem::path& file, std::size_t line, const std::string& what);
};

// Each takes the text of a file, and its path for messages. They throw on a picture's name that holds '/' or '..', and
// on what is no such file at all.
Listing list_kaggle(std::string_view csv, const std::filesystem::path& file);
Listing list_tokens(std::string_view text, const std::filesystem::path& file);
Listing list_karpathy(std::string_view json, const std::filesystem::path& file);
/// Adds the pictures of a split file, one name a line.
void list_split(Listing& listing, std::string_view text, const std::filesystem::path& file, Split split);

}  // namespace clip
