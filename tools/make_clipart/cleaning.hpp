#pragma once
// The rules by which names and keywords become captions, in tables to be read.
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "tools/make_clipart/clipart.hpp"

namespace clip {

/// English words. It knows "apple" and "penguins", not "pannocchia".
class Words {
 public:
  /// Reads lists with a word in each line: a dictionary, or the vocabulary of a WordPiece tokenizer, which also knows
  /// names, such as "linux".
  explicit Words(std::span<const std::filesystem::path> lists);
  /// Whether all words of a text are among them, and there is one.
  bool know(std::string_view text) const;
  /// A text in which each word that is not among them, but is two that all lists have, of four letters or more, is
  /// written as those: "folder filesave" becomes "folder file save".
  std::string apart(std::string_view text) const;

 private:
  std::unordered_set<std::string> words_, common_;  // in any of the lists, in all of them
};

/// Why no picture of this openclipart folder is taken; null where they are.
const char* series_of(std::string_view folder);
/// Whether a title tells what collection a picture is from, not what it shows.
bool is_collection(std::string_view title);
bool is_flags(std::string_view folder);
/// "Chad", in a folder of flags, is the "flag of Chad".
std::string flag_of(const std::string& place);
/// Without those that say nothing, and underscores as spaces.
std::vector<std::string> clean_keywords(std::span<const std::string> keywords);
/// A title without numbers at its end, or a file's name as words, without its author's.
std::string clean_title(std::string_view title);
/// Whether they differ in case only.
bool same_words(std::string_view a, std::string_view b);
std::string title_of_stem(std::string_view stem, std::string_view author);
/// The source and the file's path in one name that no file system or data set objects to.
std::string flat_name(std::string_view source, std::filesystem::path file);
/// Whether a keyword says what the picture's folder does not: "tea" in "beverages, food".
bool adds_to_folder(std::string_view keyword, std::string_view folder);
/// The words of a path, the innermost folder first: "animals/big_cats" is "big cats, animals".
std::string folder_words(const std::filesystem::path& folder);

/// The title; the title with keywords; the title with its folder. Each caption once.
std::vector<std::string> captions_of(const Clipart& picture);
/// Those, and up to twelve more, each of one to four of the title, the keywords and the folder's words, in any order: a
/// model that sees few pictures learns from more ways to name them. The picture's name decides which.
std::vector<std::string> captions_to_train_on(const Clipart& picture);

}  // namespace clip
