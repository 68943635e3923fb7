#include "src/data/csv.hpp"

#include <string>
#include <vector>

#include "tests/support/catch.hpp"

namespace clip {
namespace {

using Row = std::vector<std::string>;

/// The rows that can be read; the others by line and problem.
struct Table {
  std::vector<Row> rows;
  std::vector<std::size_t> lines, bad;
  std::string problems;
};
Table read(const std::string& text, std::size_t fields = 0) {
  Table table;
  for (CsvRows rows(text); rows.next(fields);)
    if (rows.problem().empty()) {
      table.rows.push_back(rows.fields());
      table.lines.push_back(rows.line());
    } else {
      table.bad.push_back(rows.line());
      table.problems += rows.problem() + '\n';
    }
  return table;
}
using Lines = std::vector<std::size_t>;

TEST_CASE("CSV is read as RFC 4180 has it", "[csv]") {
  CHECK(read("a,b\nc,d").rows == std::vector<Row>{{"a", "b"}, {"c", "d"}});
  CHECK(read("\xef\xbb\xbf"
             "a,b\r\n\r\n\nc,\"d\"\r\n")
            .rows == std::vector<Row>{{"a", "b"}, {"c", "d"}});
  CHECK(read(R"("a, ""b""","""","")").rows == std::vector<Row>{{"a, \"b\"", "\"", ""}});
  CHECK(read(",\n").rows == std::vector<Row>{{"", ""}});
  CHECK(read("\"\xef\xbb\xbf\"").rows == std::vector<Row>{{"\xef\xbb\xbf"}});
  const Table folded = read("1,\"two\nlines\r\n\"\n2,x\n");
  CHECK(folded.rows == std::vector<Row>{{"1", "two\nlines\r\n"}, {"2", "x"}});
  CHECK(folded.lines == Lines{1, 4});
  CHECK(read("a \"b\" c,d").rows == std::vector<Row>{{"a \"b\" c", "d"}});  // not at a field's start
  CHECK(read("").rows.empty());
  CHECK(read("\n\r\n").rows.empty());
}

TEST_CASE("rows that cannot be read are told by line, and cost one line", "[csv]") {
  const Table table = read("a,b\nc\nd,e,f\n\"g,h\ni,j\n\"k\"l,m\nn,\xff\no,p\n", 2);
  CHECK(table.rows == std::vector<Row>{{"a", "b"}, {"i", "j"}, {"o", "p"}});
  CHECK(table.lines == Lines{1, 5, 8});
  CHECK(table.bad == Lines{2, 3, 4, 6, 7});
  CHECK(table.problems.find("expected 2 fields, got 1\n") == 0);
  CHECK(table.problems.find("expected 2 fields, got more") != std::string::npos);
  CHECK(table.problems.find("goes on after its closing quote") != std::string::npos);
  CHECK(table.problems.find("not valid UTF-8: 'n,\\xff") != std::string::npos);
  const Table open = read("a,b\nc,\"d\ne,f\n", 2);
  CHECK(open.rows == std::vector<Row>{{"a", "b"}, {"e", "f"}});
  CHECK(open.bad == Lines{2});
  CHECK(open.problems.find("never closed") != std::string::npos);
}

TEST_CASE("reading takes time in proportion to the text", "[csv]") {
  for (const std::string line : {"a\",\"b\n", "\"\n", "\"\"\"\n", ",\n", "\"a,b\n"}) {
    std::string text;
    while (text.size() < 1'000'000) text += line;
    const Table table = read(text, 2);  // would take minutes if each row read to the end
    CHECK(table.rows.size() + table.bad.size() > 0);
  }
}

}  // namespace
}  // namespace clip
