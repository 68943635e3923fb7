// Ids are those of transformers and of open_clip: tests/reference/clip_bpe.py writes them.
#include "clip/text/clip_tokenizer.hpp"

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

using Ids = std::vector<std::int32_t>;

const Json& golden() {
  static const Json json = [] {
    const std::string file = test_data("clip_bpe.json");
    return parse_json(read_file(file), file);
  }();
  return json;
}

std::string utf8(char32_t code) {
  char bytes[4];
  return {bytes, put_code_point(code, bytes)};
}

/// The vocabulary's names of bytes, as the reference numbers them: the visible ones first.
std::vector<std::string> byte_tokens() {
  char32_t next = 256;
  std::vector<std::string> ordered;
  for (int pass = 0; pass < 2; ++pass)
    for (char32_t b = 0; b < 256; ++b)
      if (((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae) == (pass == 0))
        ordered.push_back(utf8(pass == 0 ? b : next++));
  return ordered;
}

Json vocabulary(const std::vector<std::string>& merges, const std::string& begin, const std::string& end) {
  Json vocab = Json::object();
  const auto add = [&](const std::string& token) { vocab[token] = vocab.size(); };
  for (const std::string& name : byte_tokens()) add(name);
  for (const std::string& name : byte_tokens()) add(std::string(name).append("</w>"));
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    add(merge.substr(0, space) + merge.substr(space + 1));
  }
  add(begin);
  add(end);
  return vocab;
}

const std::vector<std::string> few_merges = {"t h", "th e</w>", "c a", "ca t</w>"};

/// A folder with a tokenizer of these merges.
struct Folder : TemporaryFolder {
  explicit Folder(const std::string& config, const std::vector<std::string>& merges = few_merges,
                  const std::string& begin = "<|startoftext|>", const std::string& end = "<|endoftext|>") {
    write("vocab.json", vocabulary(merges, begin, end).dump());
    std::string lines = "#version: 0.2\n";
    for (const std::string& merge : merges) lines += merge + '\n';
    write("merges.txt", lines);
    write("tokenizer_config.json", config);
  }
};

ClipTokenizer tokenizer_of(const std::string& pipeline) {
  const bool openai = pipeline == "openai";
  return ClipTokenizer::load(Folder(Json{{"model_max_length", 100000}, {"pipeline", pipeline}}.dump(),
                                    golden()["merges"].get<std::vector<std::string>>(),
                                    openai ? "<start_of_text>" : "<|startoftext|>",
                                    openai ? "<end_of_text>" : "<|endoftext|>")
                                 .path());
}

std::vector<Ids> ids_of(const Tokens& tokens) {
  const auto ids = tokens.ids.to_vector<std::int32_t>(), offsets = tokens.offsets.to_vector<std::int32_t>();
  std::vector<Ids> texts;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    texts.emplace_back(ids.begin() + offsets[i], ids.begin() + offsets[i + 1]);
  return texts;
}

std::uint64_t fnv(const Ids& ids, std::uint64_t hash = 0xcbf29ce484222325) {
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

std::string repeat(const std::string& text, std::size_t count) {
  std::string all;
  all.reserve(text.size() * count);
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("ClipTokenizer gives both references' ids for texts of all kinds", "[text]") {
  const auto texts = golden()["texts"].get<std::vector<std::string>>();
  REQUIRE(texts.size() > 150);
  for (const std::string pipeline : {"huggingface", "openai"}) {
    const auto expected = golden()[pipeline].get<std::vector<Ids>>();
    const auto ids = ids_of(tokenizer_of(pipeline).encode(texts));
    REQUIRE(ids.size() == expected.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(pipeline << ", text " << i << ": " << texts[i]);
      CHECK(ids[i] == expected[i]);
    }
  }
}

TEST_CASE("ClipTokenizer treats every code point as both references do", "[text]") {
  std::vector<std::string> texts;  // of 256 code points each: by itself, and between letters
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (!tests_block(c / 4096)) continue;
    if (c % 256 == 0) texts.emplace_back();
    if (c != '\n' && (c < 0xd800 || c >= 0xe000)) texts.back() += utf8(c) + " a" + utf8(c) + "b ";
  }
  for (const std::string pipeline : {"huggingface", "openai"}) {
    const auto expected =
        golden()[std::string("characters of ").append(pipeline)].get<std::vector<std::string>>();  // of 16 texts each
    const auto ids = ids_of(tokenizer_of(pipeline).encode(texts));
    REQUIRE(expected.size() == 0x110);
    auto text = ids.begin();
    for (std::size_t block = 0; block < expected.size(); ++block) {
      if (!tests_block(block)) continue;
      REQUIRE(ids.end() - text >= 16);
      std::uint64_t hash = fnv({});
      for (const auto end = text + 16; text != end; ++text) hash = fnv(*text, hash);
      INFO(pipeline << ", from code point " << hex(block * 4096));
      CHECK(hex(hash) == expected[block]);
    }
  }
}

TEST_CASE("ClipTokenizer reads tokenizer.json where the other files are not there", "[text]") {
  const TemporaryFolder folder;
  Json whole = golden()["tokenizer.json"];
  const auto merges = golden()["merges"].get<std::vector<std::string>>();
  whole["model"]["vocab"] = vocabulary(merges, "<|startoftext|>", "<|endoftext|>");
  whole["model"]["merges"] = merges;
  folder.write("tokenizer.json", whole.dump());
  folder.write("tokenizer_config.json", R"({"model_max_length": 100000})");
  const auto texts = golden()["texts"].get<std::vector<std::string>>();
  CHECK(ids_of(ClipTokenizer::load(folder.path()).encode(texts)) == golden()["huggingface"].get<std::vector<Ids>>());
  for (Json& merge : whole["model"]["merges"]) {  // as newer versions write them
    const auto text = merge.get<std::string>();
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  folder.write("tokenizer.json", whole.dump());
  CHECK(ids_of(ClipTokenizer::load(folder.path()).encode(texts)) == golden()["huggingface"].get<std::vector<Ids>>());
  const auto refused = [&](const char* key, const Json& value, const std::string& message) {
    Json other = whole;
    other[key] = value;
    folder.write("tokenizer.json", other.dump());
    return throws_with([&] { ClipTokenizer::load(folder.path()); }, message);
  };
  CHECK(refused("model", {{"type", "WordPiece"}}, "expected a BPE for 'model'"));
  CHECK(refused("normalizer", {{"type", "NFKC"}}, "expected NFC, Replace and Lowercase"));
}

TEST_CASE("ClipTokenizer pads and cuts in both ways, and otherwise names the text that is too long", "[text]") {
  const Folder folder(R"({"model_max_length": 5})");
  const ClipTokenizer tokenizer = ClipTokenizer::load(folder.path());
  const std::int32_t the = 513, cat = 515, begin = 516, end = 517;
  CHECK(tokenizer.vocab_size() == 518);
  CHECK(tokenizer.max_length() == 5);
  CHECK((tokenizer.begin_id() == begin && tokenizer.end_id() == end && tokenizer.pad_id() == end));
  const std::vector<std::string> texts = {"the cat", "", "The CAT the cat", "cat the cat"};
  CHECK(throws_with([&] { tokenizer.encode(texts); },
                    "expected at most 5 tokens, got 6 in text 3, 'The CAT the cat': shorten it"));
  CHECK(tokenizer.too_long(texts) == std::vector<std::size_t>{2});
  const Tokens tokens = tokenizer.encode(texts, {.truncate = true});
  CHECK(
      ids_of(tokens) ==
      std::vector<Ids>{{begin, the, cat, end}, {begin, end}, {begin, the, cat, the, end}, {begin, cat, the, cat, end}});
  CHECK(tokenizer.encode({"", "the"}).padded(tokenizer.pad_id(), 5).to_vector<std::int32_t>() ==
        Ids{begin, end, end, end, end, begin, the, end, end, end});
  CHECK(throws_with([&] { tokens.padded(0, 4); }, "expected texts of at most 4 tokens, got one of 5"));
  const auto rectangle = [](const std::vector<std::int32_t>& offsets) {
    return [=] { Tokens{ones({3}, dtype::i32), Tensor::from(offsets, {std::ssize(offsets)}), {}, 2}.padded(9); };
  };
  rectangle({0, 2, 2, 3})();
  for (const auto& offsets : {Ids{-1, 1}, Ids{0, 2, 4}, Ids{0, 2, 1}, Ids{0, 3}, Ids{4, 4}})
    CHECK(throws_with(rectangle(offsets), "[tokens] expected offsets that rise within the 3 ids, by at most 2, got"));
  CHECK(throws_with(rectangle({0, 2, 1}), "got 2 and 1 for text 1"));

  const auto pad = [](const std::string& config) { return ClipTokenizer::load(Folder(config).path()).pad_id(); };
  CHECK(pad(R"({"pipeline": "openai"})") == 0);
  CHECK(pad(R"({"pipeline": "openai", "pad_token": "!</w>"})") == 256);
  CHECK(pad(R"({"pad_token": {"content": "!"}})") == 0);
  CHECK(ClipTokenizer::load(Folder("{}").path()).max_length() == 77);
  folder.write("config.json", R"({"model_type": "clip", "text_config": {"max_position_embeddings": 4}})");
  CHECK(ClipTokenizer::load(folder.path()).max_length() == 4);
}

TEST_CASE("ClipTokenizer finds special tokens where their folder says", "[text]") {
  const auto ids = [](const std::string& config, const std::string& text) {
    return ids_of(ClipTokenizer::load(Folder(config).path()).encode({text}))[0];
  };
  const std::int32_t begin = 516, end = 517;
  const std::string normal =
      R"({"bos_token": {"content": "<|startoftext|>", "normalized": true}, "eos_token": "<|endoftext|>"})";
  CHECK(ids("{}", "<|startoftext|>!<|endoftext|>") == Ids{begin, begin, 256, end, end});
  CHECK(ids("{}", "<|STARTOFTEXT|>").size() > 10);
  CHECK(ids(normal, "<|STARTOFTEXT|>") == Ids{begin, begin, end});
  CHECK(ids(normal, "<|ENDOFTEXT|>").size() > 10);
  CHECK(ids(R"({"pipeline": "openai"})", "<|STARTOFTEXT|>") == Ids{begin, begin, end});
}

TEST_CASE("ClipTokenizer names the text that is not UTF-8", "[text]") {
  const ClipTokenizer tokenizer = ClipTokenizer::load(Folder("{}").path());
  CHECK(throws_with([&] { tokenizer.encode({"a", "the \xed\xa0\x80"}); }, "in text 2 at byte 5"));
  CHECK(tokenizer.encode(std::span<const std::string>()).count() == 0);
}

TEST_CASE("ClipTokenizer takes long lines in its stride", "[text]") {
  for (const std::string pipeline : {"huggingface", "openai"}) {
    const ClipTokenizer tokenizer = ClipTokenizer::load(Folder(Json{{"pipeline", pipeline}}.dump()).path());
    const auto count = [&](const std::string& text) {
      return ids_of(tokenizer.encode({text}, {.truncate = true}))[0].size();
    };
    CHECK(count(repeat("the ", shorter(2'000'000))) == 77);
    CHECK(count(repeat("th", shorter(500'000))) == 77);  // one word
    CHECK(count(repeat("!", shorter(1'000'000))) == 77);
    CHECK(count(repeat(" ", shorter(2'000'000))) == 2);
    CHECK(count(std::string("a").append(repeat("\u0301\u0327", shorter(500'000)))) == 77);
    CHECK(count(repeat("\u03a3\u0301", shorter(500'000))) == 77);
    CHECK(count(repeat("&", shorter(1'000'000))) == 77);
    CHECK(count(repeat("\x1b[11111", shorter(500'000))) == 77);
    CHECK(count(repeat("<|startoftext", shorter(300'000))) == 77);
  }
  const ClipTokenizer openai = ClipTokenizer::load(Folder(R"({"pipeline": "openai"})").path());
  const auto last = [&](const std::string& text) { return ids_of(openai.encode({text}))[0]; };
  const std::int32_t ampersand = 5 + 256;
  CHECK(last(std::string("&").append(repeat("amp;", shorter(200'000)))) ==
        Ids{516, ampersand, 517});  // each entity completes the next
}

TEST_CASE("folders whose CLIP tokenizer is wrong are refused by name", "[text]") {
  const auto refused = [](const std::string& file, const std::string& content, const std::string& message) {
    const Folder folder("{}");
    folder.write(file, content);
    return throws_with([&] { ClipTokenizer::load(folder.path()); }, message);
  };
  const Folder folder("{}");
  std::filesystem::remove(folder / "merges.txt");
  CHECK(throws_with([&] { ClipTokenizer::load(folder.path()); }, "expected merges.txt, or tokenizer.json, in "));
  std::filesystem::remove(folder / "vocab.json");
  CHECK(throws_with([&] { ClipTokenizer::load(folder.path()); }, "expected vocab.json and merges.txt, or tokenizer"));
  CHECK(refused("merges.txt", "#version: 0.2\nt h\nt e x\n", "expected two tokens in line 3 of "));
  CHECK(refused("merges.txt", "t h\n\nd og\n", "the merge 3 of "));
  CHECK(refused("merges.txt", "#version: 0.2\nt h\nth e</w>\n", "expected a merge that makes the token 'ca' of "));
  CHECK(refused("merges.txt", "", "got none: the file is cut off"));
  CHECK(refused("vocab.json", R"({"a": -1})", "vocab.json', got -1"));
  CHECK(refused("vocab.json", R"({"a": 5000000})", "expected a small number for the token 'a' in "));
  CHECK(refused("vocab.json", R"({"t": 0, "h": 1, "th": 2})", "is not in "));
  CHECK(refused("tokenizer_config.json", R"({"bos_token": "<s>"})", "expected the special token '<s>' in "));
  CHECK(refused("tokenizer_config.json", R"({"eos_token": 3})", "expected a token for 'eos_token'"));
  CHECK(
      refused("tokenizer_config.json", R"({"pipeline": "timm"})", "expected 'huggingface' or 'openai' for 'pipeline'"));
  CHECK(refused("tokenizer_config.json", R"({"model_max_length": 1})", "expected a length of at least 2"));
}
