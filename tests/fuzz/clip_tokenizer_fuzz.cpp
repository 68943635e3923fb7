// Any bytes as a text for both kinds of CLIP's tokenizer, and as its files.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "clip/core/error.hpp"
#include "clip/text/clip_tokenizer.hpp"
#include "src/text/clip_tokenizer_files.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;

const std::string vocabulary =
    R"({"a": 0, "a</w>": 1, "b": 2, "b</w>": 3, "ab": 4, "aba</w>": 5, "<|startoftext|>": 6, "<|endoftext|>": 7})";
const std::string merges = "#version: 0.2\na b\nab a</w>\n";

std::filesystem::path folder() {
  static const test::TemporaryFolder one;
  return one.path();
}
void write(const std::string& vocab, const std::string& pairs, const std::string& config) {
  std::ofstream(folder() / "vocab.json") << vocab;
  std::ofstream(folder() / "merges.txt") << pairs;
  std::ofstream(folder() / "tokenizer_config.json") << config;
}
ClipTokenizer load(const std::string& config) {
  write(vocabulary, merges, config);
  return ClipTokenizer::load(folder());
}
void refuse_or_read(const std::string& vocab, const std::string& pairs, const std::string& config) {
  write(vocab, pairs, config);
  try {
    read_clip_tokenizer(folder());
  } catch (const Error&) {
  }
}

void encode(const ClipTokenizer& tokenizer, const std::string& text) {
  try {
    const Tokens tokens = tokenizer.encode({text, text}, {.truncate = true});
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
  static const ClipTokenizer huggingface = load("{}"), openai = load(R"({"pipeline": "openai"})");
  const std::string text(reinterpret_cast<const char*>(data), size);
  encode(huggingface, text);
  encode(openai, text);
  if (size % 16 == 0) {  // seldom: files are slow
    refuse_or_read(text, merges, "{}");
    refuse_or_read(vocabulary, text, "{}");
    refuse_or_read(vocabulary, merges, text);
  }
  return 0;
}
