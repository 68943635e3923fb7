// Ids are those of Hugging Face's fast BERT tokenizer: tests/reference/wordpiece.py writes them.
#include "clip/text/wordpiece.hpp"

#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "src/io/json.hpp"
#include "src/text/utf8.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

const std::vector<std::pair<std::string, std::string>> settings = {
    {"uncased", R"({"model_max_length": 100000})"},
    {"cased", R"({"model_max_length": 100000, "do_lower_case": false})"},
    {"accents", R"({"model_max_length": 100000, "strip_accents": false, "tokenize_chinese_chars": false})"},
    {"stripped", R"({"model_max_length": 100000, "do_lower_case": false, "strip_accents": true})"},
};
const std::vector<std::string> special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

const Json& golden() {
  static const Json json = [] {
    const std::string file = test_data("wordpiece.json");
    return parse_json(read_file(file), file);
  }();
  return json;
}

WordPiece tokenizer_of(const std::vector<std::string>& vocabulary, const std::string& config = "{}") {
  const TemporaryFolder folder;
  std::string lines;
  for (const std::string& token : vocabulary) lines += token + '\n';
  write_file(folder / "vocab.txt", lines);
  write_file(folder / "tokenizer_config.json", config);
  return WordPiece::load(folder.path());
}

/// The special tokens, numbered from 0, then others.
WordPiece small(std::vector<std::string> others, const std::string& config = "{}") {
  others.insert(others.begin(), special.begin(), special.end());
  return tokenizer_of(others, config);
}

std::vector<std::vector<std::int32_t>> ids_of(const Tokens& tokens) {
  const auto ids = tokens.ids.to_vector<std::int32_t>(), offsets = tokens.offsets.to_vector<std::int32_t>();
  std::vector<std::vector<std::int32_t>> texts;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    texts.emplace_back(ids.begin() + offsets[i], ids.begin() + offsets[i + 1]);
  return texts;
}

std::uint64_t fnv(const std::vector<std::int32_t>& ids, std::uint64_t hash = 0xcbf29ce484222325) {
  for (const std::int32_t id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (static_cast<std::uint32_t>(id) >> shift & 0xff)) * 0x100000001b3;
  return hash;
}
std::string hex(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

std::string utf8(char32_t code) {
  char bytes[4];
  return {bytes, put_code_point(code, bytes)};
}
bool is_surrogate(char32_t code) { return code >= 0xd800 && code < 0xe000; }

}  // namespace

TEST_CASE("WordPiece gives the reference's ids for texts of all kinds", "[text]") {
  const auto texts = golden()["texts"].get<std::vector<std::string>>();
  REQUIRE(texts.size() > 250);
  for (const auto& [name, config] : settings) {
    const auto expected = golden()[name].get<std::vector<std::vector<std::int32_t>>>();
    const auto ids = ids_of(tokenizer_of(golden()["vocab"].get<std::vector<std::string>>(), config).encode(texts));
    REQUIRE(ids.size() == expected.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(name << ", text " << i << ": " << texts[i]);
      CHECK(ids[i] == expected[i]);
    }
  }
}

TEST_CASE("WordPiece treats every code point as the reference does", "[text]") {
  std::vector<std::string> pieces;
  for (char32_t c = 0x21; c < 0x2fa20; ++c)
    if (!is_surrogate(c)) {
      pieces.push_back(utf8(c));
      pieces.push_back("##" + utf8(c));
    }
  std::vector<std::string> texts;  // of 256 code points each: by itself, and between letters
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!tests_block(c / 4096)) continue;
    if (c % 256 == 0) texts.emplace_back();
    if (!is_surrogate(c)) texts.back() += utf8(c) + " a" + utf8(c) + "b ";
  }
  for (const auto& [name, config] : settings) {
    const auto expected = golden()["characters"][name].get<std::vector<std::string>>();  // of 16 texts each
    const auto ids = ids_of(small(pieces, config).encode(texts));
    REQUIRE(expected.size() == 0x110);
    auto text = ids.begin();
    for (std::size_t block = 0; block < expected.size(); ++block) {
      if (!tests_block(block)) continue;
      REQUIRE(ids.end() - text >= 16);
      std::uint64_t hash = fnv({});
      for (const auto end = text + 16; text != end; ++text) hash = fnv(*text, hash);
      INFO(name << ", from code point " << hex(block * 4096));
      CHECK(hex(hash) == expected[block]);
    }
  }
}

TEST_CASE("WordPiece gives the reference's ids with a real vocabulary", "[text]") {
  const std::string folder = CLIP_MODELS "/all-MiniLM-L6-v2";
  if (!std::filesystem::exists(folder)) {
    WARN("skipped: scripts/get_minilm.sh brings the vocabulary");
    return;
  }
  const WordPiece tokenizer = WordPiece::load(folder);
  CHECK(tokenizer.vocab_size() == 30522);
  CHECK(tokenizer.max_length() == 256);  // sentence_bert_config.json; 512 elsewhere
  const auto texts = golden()["texts"].get<std::vector<std::string>>();
  const auto expected = golden()["minilm"].get<std::vector<std::string>>();
  const auto ids = ids_of(tokenizer.encode(texts));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO("text " << i << ": " << texts[i]);
    CHECK(hex(fnv(ids[i])) == expected[i]);
  }
}

TEST_CASE("WordPiece cuts at the shortest of all lengths", "[text]") {
  const WordPiece tokenizer = small({"a", "b", "##b"}, R"({"model_max_length": 6})");
  CHECK(tokenizer.max_length() == 6);
  CHECK(tokenizer.pad_id() == 0);
  CHECK(tokenizer.vocab_size() == 8);
  const auto ids = [&](const std::string& text, std::int64_t length) {
    return ids_of(tokenizer.encode({text}, {.max_length = length}))[0];
  };
  using Ids = std::vector<std::int32_t>;
  CHECK(ids("a b a b", 0) == Ids{2, 5, 6, 5, 6, 3});
  CHECK(ids("a b a b a", 0) == Ids{2, 5, 6, 5, 6, 3});
  CHECK(ids("a b a b a", 100) == Ids{2, 5, 6, 5, 6, 3});
  CHECK(ids("a b a b a", 4) == Ids{2, 5, 6, 3});
  CHECK(ids("bbbbb", 4) == Ids{2, 6, 7, 3});  // in the middle of a word
  CHECK(ids("bbbbb", 2) == Ids{2, 3});
  CHECK(ids("", 0) == Ids{2, 3});
  CHECK(throws_with([&] { ids("a", 1); }, "[wordpiece] expected a max_length of at least 2"));
  CHECK(throws_with([&] { ids("a", -5); }, "got -5"));
  CHECK(tokenizer.encode(std::span<const std::string>()).count() == 0);
  CHECK(ids_of(tokenizer.encode({"a", "b"})) == std::vector<Ids>{{2, 5, 3}, {2, 6, 3}});
}

TEST_CASE("WordPiece names the text that is not UTF-8", "[text]") {
  const WordPiece tokenizer = small({"a"});
  for (const std::string bad :
       {"\x80", "\xff", "\xc3", "\xc0\x80", "\xe2\x82", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x9f\x98",
        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3\x28", "\xe2\x28\xa1"})
    for (const std::string before : {"", "a", "seven a", "eight aa", "\xc3\xa9 and more, \xf0\x9f\x98\x80"})
      for (const std::string after : {"", " a, and quite some more"}) {
        const std::string where = "in text 3 at byte " + std::to_string(before.size() + 1);
        CHECK(throws_with([&] { tokenizer.encode({"a", "", before + bad + after, "\xff"}); }, where));
        // also where the text is cut before
        CHECK(throws_with([&] { tokenizer.encode({"a", "", before + bad + after}, {.max_length = 2}); }, where));
      }
}

TEST_CASE("WordPiece takes long lines, words and runs of marks in its stride", "[text]") {
  const WordPiece tokenizer = small({"a", "##a", "i", "##\u302e"}, R"({"model_max_length": 200000})");
  const auto ids = [&](const std::string& text) { return ids_of(tokenizer.encode({text}))[0]; };
  const auto repeat = [](const std::string& text, std::size_t count) {
    std::string all;
    all.reserve(text.size() * count);
    for (std::size_t i = 0; i < count; ++i) all += text;
    return all;
  };
  using Ids = std::vector<std::int32_t>;
  CHECK(ids(repeat("a", shorter(2'000'000))) == Ids{2, 1, 3});
  CHECK(ids("a" + repeat("\u0301", shorter(1'000'000))) == Ids{2, 5, 3});
  CHECK(ids("i" + repeat("\u302e\U0001d165", shorter(500'000)) + "a") == Ids{2, 1, 3});  // kept, and of two classes
  CHECK(ids(repeat("\u302e\U0001d16d\U0001d165\u1b44", shorter(250'000))) == Ids{2, 1, 3});
  CHECK(ids(repeat("[MASK", shorter(2'000'000))).size() == 200'000);
  CHECK(ids(repeat("a ", shorter(2'000'000))).size() == 200'000);
  CHECK(ids(repeat(" ", shorter(2'000'000))) == Ids{2, 3});
  CHECK(ids(repeat("\u200b", shorter(3'000'000)) + "a") == Ids{2, 5, 3});
  CHECK(ids(repeat(repeat("a", 99) + "b ", shorter(100'000))) == [] {  // cut nearly to the end, then unknown
    Ids unknown(shorter(100'000) + 2, 1);
    unknown.front() = 2;
    unknown.back() = 3;
    return unknown;
  }());
}

TEST_CASE("WordPiece gives the same with many threads as text by text", "[text][threads]") {
  const WordPiece tokenizer = tokenizer_of(golden()["vocab"].get<std::vector<std::string>>());
  auto texts = golden()["texts"].get<std::vector<std::string>>();
  for (int i = 0; i < 2; ++i) texts.insert(texts.end(), texts.begin(), texts.end());
  const auto together = ids_of(tokenizer.encode(texts));
  for (std::size_t i = 0; i < texts.size(); ++i) CHECK(together[i] == ids_of(tokenizer.encode({texts[i]}))[0]);
  texts[700] = texts[900] = "\xff";
  CHECK(throws_with([&] { tokenizer.encode(texts); }, "text 701 "));
}
