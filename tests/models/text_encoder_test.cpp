#include "clip/models/text_encoder.hpp"

#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/lines.hpp"
#include "clip/models/dual_encoder.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/hash_weights.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

/// A folder with a small BERT that knows four words.
void write_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  write_file(folder / "config.json",
             R"({"model_type": "bert", "vocab_size": 9, "hidden_size": 32, "intermediate_size": 48,
      "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 20})");
  write_file(folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\non\nbeach\n");
  Bert model({.vocab_size = 9, .max_positions = 20, .size = 32, .feed_forward = 48, .layers = 1, .heads = 2},
             Init::none());
  hash_fill(model);
  save(model, folder / "model.safetensors");
}

const std::vector<std::string> texts = {"A dog on a beach", "", "dog"};

TEST_CASE("a text encoder tokenises, encodes and pools as its folder says", "[text_encoder]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  write_model(folder.path());
  const TextEncoder plain = TextEncoder::load(folder.path());
  const Tokens tokens = Tokens::pack(std::vector<std::vector<std::int32_t>>{{2, 5, 6, 7, 5, 8, 3}, {2, 3}, {2, 6, 3}});
  const HiddenStates states = std::get<Bert>(plain.model)(tokens);
  CHECK(compare(plain(texts), states.cls()).relative == 0);
  CHECK(plain(std::vector<std::string>()).shape() == Shape{0, 32});

  folder.write("modules.json", R"([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
                                   {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                                   {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])");
  std::filesystem::create_directory(folder / "1_Pooling");
  const auto pooling = [&](const std::string& json) { folder.write("1_Pooling/config.json", json); };
  pooling(R"({"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true})");
  CHECK(compare(TextEncoder::load(folder.path())(texts), l2_normalize(states.mean())).relative == 0);
  pooling(R"({"pooling_mode_cls_token": true})");
  CHECK(compare(TextEncoder::load(folder.path())(texts), l2_normalize(states.cls())).relative == 0);

  const TemporaryFolder whole;  // the older layout: the transformer in a folder of its own
  write_model(whole / "0_Transformer");
  std::filesystem::create_directory(whole / "1_Pooling");
  whole.write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens": true})");
  whole.write("modules.json", R"([{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
                                  {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  TextEncoder trained = TextEncoder::load(whole.path());
  CHECK(compare(trained(texts), states.mean()).relative == 0);
  std::get<Bert>(trained.model).embeddings.norm.weight.fill(2);
  save_weights(trained, whole.path());
  CHECK(compare(TextEncoder::load(whole.path())(texts), trained(texts)).relative == 0);

  const auto load = [&] { return TextEncoder::load(folder.path()); };
  pooling(R"({"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true})");
  CHECK(throws_with(load, "'pooling_mode_max_tokens'"));
  pooling(R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})");
  CHECK(throws_with(load, "'pooling_mode_mean_tokens'"));
  folder.write("modules.json", R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  CHECK(throws_with(load, "got 'sentence_transformers.models.Dense'"));
  folder.write("modules.json", R"([{"path": "", "type": "sentence_transformers.models.Normalize"},
                                   {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  CHECK(throws_with(load, "in this order"));
  folder.write("modules.json", R"([{"path": "../x", "type": "sentence_transformers.models.Pooling"}])");
  CHECK(throws_with(load, "expected paths inside the folder"));
  folder.write("modules.json", R"({"path": ""})");
  CHECK(throws_with(load, "modules.json', got object"));
}

TEST_CASE("a vocabulary larger than the model's is refused", "[text_encoder]") {
  const TemporaryFolder folder;
  write_model(folder.path());
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\non\nbeach\nsea\n");
  CHECK(throws_with([&] { TextEncoder::load(folder.path()); }, "expected a vocabulary of at most 9 pieces"));
}

TEST_CASE("a vocabulary that was cut off is refused", "[text_encoder]") {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"model_type": "bert", "vocab_size": 200})");
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int i = 5; i < 72; ++i) vocabulary.append("w").append(std::to_string(i)).append("\n");
  folder.write("vocab.txt", vocabulary);
  CHECK(WordPiece::load(folder.path()).vocab_size() == 72);
  folder.write("vocab.txt", vocabulary.substr(0, vocabulary.size() - 4));
  CHECK(throws_with([&] { WordPiece::load(folder.path()); }, "the file may be cut off"));
}

TEST_CASE("the pretrained MiniLM gives the reference's embeddings", "[text_encoder][minilm]") {
  const std::filesystem::path folder = std::filesystem::path(CLIP_MODELS) / "all-MiniLM-L6-v2";
  if (!std::filesystem::exists(folder)) {
    WARN("not checked: scripts/get_minilm.sh brings the model");
    return;
  }
  const NoGrad guard;
  const std::vector<std::string> sentences = read_lines(test_data("sentences.txt"));
  const Tensor expected = golden("minilm").read("embeddings");
  const Difference f32 = compare(TextEncoder::load(folder)(sentences), expected);
  CHECK(f32.relative < 1e-5);
  CHECK(f32.cosine > 0.999999);
  CHECK(compare(TextEncoder::load(folder, {}, dtype::bf16)(sentences), expected).cosine > 0.999);
}

}  // namespace
}  // namespace clip
