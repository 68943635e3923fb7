// Any bytes as each file of a captioned data set.
#include <cstdint>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/data/csv.hpp"
#include "src/data/listing.hpp"

namespace {

using namespace clip;

template <class List>
void list(std::string_view text, const List& read) {
  try {
    const Listing listing = read(text, "fuzz");
    if (listing.problems.size() > listing.unreadable_rows) __builtin_trap();
    for (const Listing::Row& row : listing.rows) {
      const bool good = !row.picture.empty() && !row.caption.empty() && row.picture.find('/') == std::string::npos &&
                        row.picture.find("..") == std::string::npos && is_utf8(row.picture) && is_utf8(row.caption);
      if (!good) __builtin_trap();
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  list(text, list_kaggle);
  list(text, list_tokens);
  list(text, list_karpathy);
  list(text, [](std::string_view names, const std::filesystem::path& file) {
    Listing listing;
    list_split(listing, names, file, Split::test);
    return listing;
  });
  std::size_t line = 0;
  for (CsvRows rows(text); rows.next(2);) {
    if (rows.line() <= line || (rows.problem().empty() && rows.fields().size() != 2)) __builtin_trap();
    line = rows.line();
  }
  return 0;
}
