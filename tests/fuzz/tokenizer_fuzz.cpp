// Any bytes as a text for a small vocabulary, and as the vocabulary itself.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "clip/core/error.hpp"
#include "clip/text/wordpiece.hpp"
#include "src/text/wordpiece_files.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;

const std::string special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

std::filesystem::path folder() {
  static const test::TemporaryFolder one;
  return one.path();
}

void write(const std::string& vocabulary, const std::string& config) {
  std::ofstream(folder() / "vocab.txt") << vocabulary;
  std::ofstream(folder() / "tokenizer_config.json") << config;
}
WordPiece load(const std::string& vocabulary, const std::string& config) {
  write(vocabulary, config);
  return WordPiece::load(folder());
}
void refuse_or_read(const std::string& vocabulary, const std::string& config) {
  write(vocabulary, config);
  try {
    read_wordpiece(folder());
  } catch (const Error&) {
  }
}

void encode(const WordPiece& tokenizer, const std::string& text) {
  try {
    const Tokens tokens = tokenizer.encode({text, text});
    const auto ids = tokens.ids.to_vector<std::int32_t>(), offsets = tokens.offsets.to_vector<std::int32_t>();
    for (const std::int32_t id : ids)
      if (id < 0 || id >= tokenizer.vocab_size()) __builtin_trap();
    if (offsets.size() != 3 || offsets[1] < 2 || offsets[1] > tokenizer.max_length() || offsets[2] != 2 * offsets[1])
      __builtin_trap();
  } catch (const Error&) {  // not UTF-8
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const WordPiece uncased = load(special + "a\nb\nab\n##b\n##ba\n中\n", "{}");
  static const WordPiece cased =
      load(special + "A\n##B\n##\u302e\n", R"({"do_lower_case": false, "strip_accents": true})");
  const std::string text(reinterpret_cast<const char*>(data), size);
  encode(uncased, text);
  encode(cased, text);
  if (size % 16 == 0) {  // seldom: files are slow
    refuse_or_read(special + text, "{}");
    refuse_or_read(special, text);
  }
  return 0;
}
