// What WordPiece reads in a model folder, and what it makes of folders that are wrong.
#include <sys/stat.h>

#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "clip/text/wordpiece.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

const std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n##b\ne\n<s>\n中\n##中\n";

struct File {
  std::string name, content;
};

WordPiece load(const std::vector<File>& files) {
  const TemporaryFolder folder;
  for (const File& file : files) write_file(folder / file.name, file.content);
  return WordPiece::load(folder.path());
}
WordPiece load_with(const std::string& name, const std::string& content) {
  return load({{"vocab.txt", vocabulary}, {name, content}});
}
std::vector<std::int32_t> ids(const WordPiece& tokenizer, const std::string& text) {
  return tokenizer.encode({text}).ids.to_vector<std::int32_t>();
}
using Ids = std::vector<std::int32_t>;

std::string tokenizer_json(const std::string& normalizer = R"({"type": "BertNormalizer", "clean_text": true,
    "handle_chinese_chars": true, "strip_accents": null, "lowercase": true})",
                           const std::string& tokens = R"({"id": 9, "content": "<s>", "special": true})") {
  return R"({"added_tokens": [)" + tokens + R"(], "normalizer": )" + normalizer +
         R"(, "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {"type": "WordPiece", "unk_token": "[UNK]",
    "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2,
    "[SEP]": 3, "[MASK]": 4, "a": 5, "A": 6, "##b": 7, "e": 20, "<s>": 9}}})";
}

}  // namespace

TEST_CASE("WordPiece follows what the folder says about case, accents and Chinese", "[text]") {
  CHECK(ids(load({{"vocab.txt", vocabulary}}), "A aB é 中中") == Ids{2, 5, 5, 7, 8, 10, 10, 3});
  CHECK(ids(load_with("tokenizer_config.json", R"({"do_lower_case": false})"), "A ab é") == Ids{2, 6, 5, 7, 1, 3});
  CHECK(ids(load_with("tokenizer_config.json", R"({"do_lower_case": false, "strip_accents": true})"), "A é É") ==
        Ids{2, 6, 8, 1, 3});
  CHECK(ids(load_with("tokenizer_config.json", R"({"strip_accents": false})"), "A é") == Ids{2, 5, 1, 3});
  CHECK(ids(load_with("tokenizer_config.json", R"({"strip_accents": null})"), "A é") == Ids{2, 5, 8, 3});
  CHECK(ids(load_with("tokenizer_config.json", R"({"tokenize_chinese_chars": false})"), "中中") == Ids{2, 10, 11, 3});
}

TEST_CASE("WordPiece reads vocabularies as they come", "[text]") {
  const auto with = [](const std::string& lines) { return load({{"vocab.txt", lines}}); };
  CHECK(ids(with("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na"), "a") == Ids{2, 4, 3});  // CRLF, no end of line at the end
  CHECK(ids(with("a\n\n[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"), "a") == Ids{4, 6, 5});   // an empty line, a token twice
  CHECK(ids(with("[PAD]\n[UNK]\n[CLS]\n[SEP]\n##\n#\n"), "##") == Ids{2, 5, 5, 3});
  CHECK(with("[PAD]\n[UNK]\n[CLS]\n[SEP]\n").vocab_size() == 4);
}

TEST_CASE("WordPiece knows the special tokens a folder names", "[text]") {
  const std::string other = "a\n<pad>\n<unk>\n<s>\n</s>\n<m>\n";
  const auto renamed = load(
      {{"vocab.txt", other},
       {"tokenizer_config.json", R"({"pad_token": "<pad>", "unk_token": {"content": "<unk>"}, "cls_token": "<s>"})"},
       {"special_tokens_map.json", R"({"sep_token": "</s>", "mask_token": "<m>"})"}});
  CHECK(ids(renamed, "a<m>x") == Ids{3, 0, 5, 2, 4});
  CHECK(renamed.pad_id() == 1);

  CHECK(ids(load_with("tokenizer_config.json", R"({"additional_special_tokens": ["<s>"]})"), "a<s>a") ==
        Ids{2, 5, 9, 5, 3});
  const auto added = load_with("tokenizer_config.json", R"({"added_tokens_decoder": {
      "9": {"content": "<s>", "special": true, "normalized": false, "single_word": false, "lstrip": true},
      "14": {"content": "<s>new", "special": true}}})");
  CHECK(ids(added, "a <s>a<s>new<s>ne") == Ids{2, 5, 9, 5, 14, 9, 1, 3});  // the longest
  CHECK(added.vocab_size() == 15);
  CHECK(ids(load_with("added_tokens.json", R"({"<s>": 9})"), "<s>") == Ids{2, 9, 3});
}

TEST_CASE("WordPiece takes the shortest length that a folder names", "[text]") {
  CHECK(load({{"vocab.txt", vocabulary}}).max_length() == 512);
  CHECK(load_with("tokenizer_config.json", R"({"model_max_length": 1000000000000000019884624838656})").max_length() ==
        1 << 20);
  CHECK(load({{"vocab.txt", vocabulary},
              {"tokenizer_config.json", R"({"model_max_length": 1e30})"},
              {"config.json", R"({"max_position_embeddings": 300})"}})
            .max_length() == 300);
  const std::string config = R"({"max_position_embeddings": 512})";
  CHECK(load({{"vocab.txt", vocabulary},
              {"config.json", config},
              {"tokenizer_config.json", R"({"model_max_length": 200})"},
              {"sentence_bert_config.json", R"({"max_seq_length": 128, "do_lower_case": false})"}})
            .max_length() == 128);
  CHECK(load({{"vocab.txt", vocabulary},
              {"config.json", config},
              {"sentence_bert_config.json", R"({"max_seq_length": null})"}})
            .max_length() == 512);
}

TEST_CASE("WordPiece reads tokenizer.json where there is no vocab.txt", "[text]") {
  const auto plain = load({{"tokenizer.json", tokenizer_json()}});
  CHECK(ids(plain, "A<s>ab é") == Ids{2, 5, 9, 5, 7, 20, 3});
  CHECK(plain.vocab_size() == 21);
  const std::string cased = R"({"type": "BertNormalizer", "clean_text": true, "lowercase": false})";
  CHECK(ids(load({{"tokenizer.json", tokenizer_json(cased)}}), "A é") == Ids{2, 6, 1, 3});
  CHECK(ids(load({{"tokenizer.json", tokenizer_json(cased)}, {"tokenizer_config.json", R"({"do_lower_case": true})"}}),
            "A") == Ids{2, 5, 3});

  const auto refused = [](const std::string& content, const std::string& why) {
    return throws_with([&] { load({{"tokenizer.json", content}}); }, why);
  };
  CHECK(refused("{}", "expected a WordPiece for 'model'"));
  CHECK(refused("[]", "expected an object"));
  CHECK(refused(tokenizer_json("null"), "expected a BertNormalizer for 'normalizer'"));
  CHECK(refused(tokenizer_json(R"({"type": "Lowercase"})"), "expected a BertNormalizer"));
  CHECK(refused(tokenizer_json(R"({"type": "BertNormalizer", "clean_text": false})"), "clean_text: true"));
  CHECK(refused(tokenizer_json(R"({"type": "BertNormalizer", "clean_text": true, "lowercase": 1})"), "true or false"));
  CHECK(refused(R"({"model": {"type": "BPE"}})", "expected a WordPiece"));
  CHECK(refused(R"({"model": {"type": "WordPiece", "vocab": {}}, "normalizer": {"type": "BertNormalizer"},
                    "pre_tokenizer": {"type": "BertPreTokenizer"}})",
                "prefix '##'"));
  for (const std::string token : {"3", "{}", R"({"content": "x"})", R"({"content": "", "id": 3})",
                                  R"({"content": "x", "id": -3})", R"({"content": "x", "id": 99999999999})"})
    CHECK(refused(tokenizer_json(R"({"type": "BertNormalizer", "clean_text": true})", token), "added token"));
}

TEST_CASE("WordPiece refuses folders that are wrong, and says why", "[text]") {
  const auto refused = [](const std::vector<File>& files, const std::string& why) {
    return throws_with([&] { load(files); }, why);
  };
  const auto setting = [&](const std::string& name, const std::string& content, const std::string& why) {
    return refused({{"vocab.txt", vocabulary}, {name, content}}, why);
  };
  CHECK(refused({}, "expected vocab.txt or tokenizer.json in"));
  CHECK(throws_with([] { WordPiece::load("/nowhere/at/all"); }, "'/nowhere/at/all', found neither"));
  CHECK(refused({{"vocab.txt", ""}}, "expected the token '[UNK]'"));
  for (const std::string token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) {
    std::string without = vocabulary;
    without.replace(without.find(token), token.size(), "[GONE]");
    CHECK(refused({{"vocab.txt", without}}, "expected the token '" + token + "'"));
  }
  CHECK(refused({{"vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nb\xc3\n"}}, "got 'b\\xc3' in line 5"));
  CHECK(refused({{"vocab.txt", std::string((1 << 21) + 1, '\n')}}, "has more than 2097152 lines"));
  CHECK(refused({{"vocab.txt", std::string((1 << 24) + 1, 'a')}}, "more than the 16777216 allowed"));

  const std::string config = "tokenizer_config.json";
  CHECK(setting(config, "{", "is not valid JSON"));
  CHECK(setting(config, R"({"do_lower_case": "yes"})", "expected true or false for 'do_lower_case'"));
  CHECK(setting(config, R"({"strip_accents": 3})", "'strip_accents'"));
  CHECK(setting(config, R"({"model_max_length": 1})", "expected a length of at least 2 for 'model_max_length'"));
  CHECK(setting(config, R"({"model_max_length": "many"})", "'model_max_length'"));
  CHECK(setting(config, R"({"cls_token": 3})", "expected a token for 'cls_token'"));
  CHECK(setting(config, R"({"cls_token": "<none>"})", "expected the token '<none>'"));
  CHECK(setting(config, R"({"cls_token": ""})", "expected the token ''"));
  CHECK(setting(config, R"({"added_tokens_decoder": []})", "expected an object for 'added_tokens_decoder'"));
  CHECK(setting(config, R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "an added token"));
  CHECK(setting(config, R"({"added_tokens_decoder": {"5": "y"}})", "an added token"));
  CHECK(setting(config, R"({"added_tokens_decoder": {"5": {"content": "y", "single_word": true}}})", "not supported"));
  CHECK(setting(config, R"({"added_tokens_decoder": {"5": {"content": "y", "normalized": true}}})", "not supported"));
  CHECK(setting(config, R"({"additional_special_tokens": ["<none>"]})", "expected the special token '<none>'"));
  CHECK(setting(config, R"({"additional_special_tokens": "<s>"})", "additional_special_tokens"));
  CHECK(setting(config, R"({"added_tokens_decoder": {"5": {"content": ")" + std::string(257, '[') + R"("}}})",
                "expected special tokens of at most 256 bytes"));
  CHECK(setting("added_tokens.json", R"({"<none>": 12})", "expected the special token '<none>'"));
  CHECK(setting("config.json", R"({"max_position_embeddings": 0})", "'max_position_embeddings'"));
  CHECK(setting("sentence_bert_config.json", R"({"max_seq_length": -1})", "'max_seq_length'"));
  CHECK(setting("sentence_bert_config.json", R"({"do_lower_case": true})", "not supported"));

  const TemporaryFolder odd;
  std::filesystem::create_directory(odd / "vocab.txt");
  CHECK(throws_with([&] { WordPiece::load(odd.path()); }, "is a folder"));
  const TemporaryFolder waiting;
  REQUIRE(::mkfifo((waiting / "vocab.txt").c_str(), 0600) == 0);
  CHECK(throws_with([&] { WordPiece::load(waiting.path()); }, "no regular file"));
}
