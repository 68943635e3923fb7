#include "src/data/csv.hpp"

#include <algorithm>

#include "clip/io/file.hpp"

namespace clip {

CsvRows::CsvRows(std::string_view text) : rest_(text) {
  if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
}

bool CsvRows::next(std::size_t fields) {
  for (; rest_.starts_with('\n') || rest_.starts_with("\r\n"); ++next_line_)
    rest_.remove_prefix(rest_.starts_with('\n') ? 1 : 2);
  if (rest_.empty()) return false;
  line_ = next_line_;
  problem_.clear();
  fields_.clear();
  const std::string_view before = rest_;
  if (read(fields > 0 ? fields : 64)) {
    const std::string_view row = before.substr(0, before.size() - rest_.size());
    next_line_ += static_cast<std::size_t>(std::count(row.begin(), row.end(), '\n'));
    if (!is_utf8(row)) problem_ = "it is not valid UTF-8: '" + printable(row) + "'";
    if (fields > 0 && fields_.size() < fields)
      problem_ = "expected " + std::to_string(fields) + " fields, got " + std::to_string(fields_.size());
  } else {
    const std::size_t end = before.find('\n');
    rest_ = end == std::string_view::npos ? std::string_view() : before.substr(end + 1);
    ++next_line_;
  }
  return true;
}

bool CsvRows::read(std::size_t most) {
  for (;;) {
    if (fields_.size() == most) {
      problem_ = "expected " + std::to_string(most) + " fields, got more; one that holds commas needs quotes";
      return false;
    }
    std::string& field = fields_.emplace_back();
    if (rest_.starts_with('"')) {
      std::size_t skip = 1;  // of a doubled quote the first one ends a part, the second begins the next
      do {
        const std::size_t quote = rest_.find('"', 1);
        if (quote == std::string_view::npos) {
          problem_ = "a quote opens a field here and is never closed";
          return false;
        }
        field += rest_.substr(skip, quote - skip);
        rest_.remove_prefix(quote + 1);
        skip = 0;
      } while (rest_.starts_with('"'));
    } else {
      const std::size_t end = std::min(rest_.find_first_of(",\n"), rest_.size());
      field = rest_.substr(0, end);
      rest_.remove_prefix(end);
      if (!rest_.starts_with(',') && field.ends_with('\r')) field.pop_back();
    }
    if (rest_.starts_with(',')) {
      rest_.remove_prefix(1);
      continue;
    }
    if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);
    if (rest_.empty() || rest_.starts_with('\n')) {
      rest_.remove_prefix(rest_.empty() ? 0 : 1);
      return true;
    }
    problem_ = "a field goes on after its closing quote";
    return false;
  }
}

}  // namespace clip
