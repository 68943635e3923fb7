#pragma once
// Comma-separated values as RFC 4180 has them: fields in quotes may hold commas, line breaks and doubled quotes. LF is
// accepted beside CRLF, and a byte-order mark.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clip {

/// Walks over the rows of a text, which must outlive it. Empty lines are no rows.
class CsvRows {
 public:
  explicit CsvRows(std::string_view text);

  /// Goes to the next row; false when there is none. One that cannot be read has a `problem`: a quote that never
  /// closes, text after the closing one, bytes that are no UTF-8, or other than `fields` fields (0: any number up to
  /// 64). Reading goes on with the line after its first, so that a stray quote does not swallow what follows.
  bool next(std::size_t fields = 0);

  const std::vector<std::string>& fields() const { return fields_; }
  /// The row's first line, counted from 1.
  std::size_t line() const { return line_; }
  /// Why the row cannot be read; empty when it can.
  const std::string& problem() const { return problem_; }

 private:
  bool read(std::size_t most);

  std::string_view rest_;
  std::size_t line_ = 0, next_line_ = 1;
  std::vector<std::string> fields_;
  std::string problem_;
};

}  // namespace clip
