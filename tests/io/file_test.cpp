#include "clip/io/file.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/lines.hpp"
#include "src/io/json.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::throws_with;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST_CASE("files are read whole, mapped or copied", "[file]") {
  const TemporaryFolder folder;
  const std::string content("\0two\nlines\xff", 11);
  write_file(folder / "a", content);
  CHECK(read_file(folder / "a") == content);
  const MappedFile mapped(folder / "a");
  CHECK(std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()) == content);
  write_file(folder / "empty", "");
  CHECK(read_file(folder / "empty").empty());
  CHECK(MappedFile(folder / "empty").bytes().empty());
  CHECK(throws_with([&] { read_file(folder / "a", 10); }, "has 11 bytes, more than the 10 allowed"));
}

TEST_CASE("files that do not tell their size are read too", "[file]") {
  const std::string version = read_file("/proc/version");
  CHECK(version.starts_with("Linux"));
  const MappedFile mapped("/proc/version");
  CHECK(std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()) == version);
  CHECK(throws_with([&] { read_file("/proc/version", 5); }, "more than the 5 allowed"));
}

TEST_CASE("only regular files are read, without waiting", "[file]") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  for (const fs::path& path : {folder / "fifo", fs::path("/dev/zero")}) {
    CHECK(throws_with([&] { read_file(path); }, "no regular file"));
    CHECK(throws_with([&] { MappedFile{path}; }, "no regular file"));
  }
  CHECK(throws_with([&] { read_file(folder / "."); }, "is a folder"));
  CHECK(throws_with([&] { read_file(folder / "gone\n"); }, "gone\\x0a': No such file"));
}

TEST_CASE("a new file appears whole, or not at all", "[file]") {
  const TemporaryFolder folder;
  write_file(folder / "a", "old");
  {
    NewFile file(folder / "a");
    file.write("half");
    CHECK(read_file(folder / "a") == "old");
  }
  CHECK(read_file(folder / "a") == "old");
  CHECK(entries(folder / ".") == 1);

  const std::string large(3 << 20, 'x');  // more than the buffer holds
  NewFile file(folder / "a");
  file.write(large);
  file.write("end");
  file.commit();
  CHECK(read_file(folder / "a") == large + "end");
  CHECK(entries(folder / ".") == 1);
  CHECK(throws_with([&] { file.commit(); }, "committed before"));
}

TEST_CASE("what cannot be written is said, and nothing left", "[file]") {
  const TemporaryFolder folder;
  CHECK(throws_with([&] { write_file(folder / "no" / "file", "x"); }, "No such file or directory"));
  CHECK(throws_with([&] { write_file(folder / "", "x"); }, "expected the name of a file"));
  fs::create_directory(folder / "folder");
  REQUIRE(::mkfifo((folder / "folder" / "fifo").c_str(), 0600) == 0);
  CHECK(throws_with([&] { write_file(folder / "folder" / "fifo", "x"); }, "it is no regular file"));
  write_file(folder / "folder" / "file", "old");
  fs::create_symlink("file", folder / "folder" / "link");
  write_file(folder / "folder" / "link", "new");
  CHECK(fs::is_symlink(folder / "folder" / "link"));
  CHECK(read_file(folder / "folder" / "file") == "new");
  CHECK(throws_with([&] { write_file(folder / "folder", "x"); }, "it is a folder"));
  CHECK(entries(folder / ".") == 1);
}

TEST_CASE("texts from files are shown in one line", "[file]") {
  CHECK(printable("a b.jpg") == "a b.jpg");
  CHECK(printable("größe 犬 🐕") == "größe 犬 🐕");
  CHECK(printable(std::string("\n\x1b[2J\x7f\0", 7)) == "\\x0a\\x1b[2J\\x7f\\x00");
  CHECK(printable("\xc2\x85") == "\\xc2\\x85");                      // a control character of two bytes
  CHECK(printable("\xff\xc3(\xe2\x82") == "\\xff\\xc3(\\xe2\\x82");  // no UTF-8, and a sequence cut short
  CHECK(printable("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80").find("\xc0") == std::string::npos);  // forbidden forms
  CHECK(printable(std::string(1000, 'x')) == std::string(200, 'x') + "…");
}

TEST_CASE("the first byte that is no UTF-8 is found", "[file]") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("ASCII of more than eight bytes, größe 犬 🐕"));
  CHECK(find_invalid_utf8("ASCII of more than eight bytes \xff") == 31);
  CHECK(find_invalid_utf8("größe\xed\xa0\x80") == 7);
  CHECK(find_invalid_utf8("12345678\xe7\x8a") == 8);  // cut short
}

TEST_CASE("lines are read from any system's text files", "[lines]") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& content) { return read_lines(folder.write("t", content)); };
  using Lines = std::vector<std::string>;
  CHECK(read("a\nb\n") == Lines{"a", "b"});
  CHECK(read("\xef\xbb\xbf\xc3\xa4\r\n\r\nlast") == Lines{"\xc3\xa4", "", "last"});
  CHECK(read("").empty());
  CHECK(throws_with([&] { read("good\nbad \xff\n"); }, "line 2 of"));
}

TEST_CASE("JSON errors name file and key", "[json]") {
  const TemporaryFolder folder;
  const auto parse = [&](const std::string& text) { return parse_json(text, "x.json"); };
  CHECK(parse(R"({"a": [1, {"b": 2}], "c": {"a": 3}})")["c"]["a"] == 3);
  CHECK(throws_with([&] { parse("{\"a\": 1, \"a\": 2}"); }, "'x.json' has the key 'a' twice"));
  CHECK(throws_with([&] { parse("{\"a\": {\"b\": 1, \"b\": 1}}"); }, "the key 'b' twice"));
  CHECK(throws_with([&] { parse("{\"a\": "); }, "'x.json' is not valid JSON"));
  CHECK(throws_with([&] { parse("\"\xff\""); }, "not valid JSON"));
  CHECK(throws_with([&] { parse(std::string(100000, '[')); }, "nested deeper than 64 levels"));
  CHECK(throws_with([&] { parse("1e999"); }, "not valid JSON"));

  write_file(folder / "c.json",
             R"({"n": 3, "x": 0.5, "big": 18446744073709551615, "t": "text", "b": true, "null": null})");
  const JsonFile json(folder / "c.json");
  CHECK(json.integer("n", 1, 3) == 3);
  CHECK(json.integer("gone", 1, 3, 2) == 2);
  CHECK(json.integer("null", 1, 3, 2) == 2);
  CHECK(json.number("x", 0) == 0.5);
  CHECK(json.number("n", 0) == 3);
  CHECK(json.text("t") == "text");
  CHECK(json.text("gone", "else") == "else");
  CHECK(json.boolean("b", false));
  CHECK(throws_with([&] { json.integer("n", 4, 9); }, "expected an integer from 4 to 9 for 'n'"));
  CHECK(throws_with([&] { json.integer("n", 4, 9); }, "c.json', got 3"));
  CHECK(throws_with([&] { json.integer("x", 0, 9); }, "got 0.5"));
  CHECK(throws_with([&] { json.integer("big", 0, 9); }, "got 18446744073709551615"));
  CHECK(throws_with([&] { json.integer("gone", 0, 9); }, "got nothing"));
  CHECK(throws_with([&] { json.text("n"); }, "expected a text"));
  CHECK(throws_with([&] { json.boolean("n", true); }, "expected true or false"));
  CHECK(throws_with([&] { json.number("t", 0); }, "expected a number"));
  write_file(folder / "list.json", "[1]");
  CHECK(throws_with([&] { JsonFile{folder / "list.json"}; }, "expected an object"));
}

}  // namespace
}  // namespace clip
