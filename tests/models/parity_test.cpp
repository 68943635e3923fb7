// Run by its tag, [.table], prints the table of docs/parity.md: every model against its reference implementation, on
// the weights both sides make from a hash (tests/reference/models.py), and the pretrained MiniLM.
#include <cstdio>
#include <filesystem>
#include <string>

#include "clip/autograd.hpp"
#include "clip/io/lines.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/models/text_encoder.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/data.hpp"

namespace {

using namespace clip;
using namespace clip::test;

void row(const std::string& model, dtype type, const Tensor& result, const Tensor& reference) {
  const Difference d = compare(result, reference);
  std::printf("| %s | %s | %.1e | %.7f |\n", model.c_str(), type == dtype::bf16 ? "bf16" : "f32", d.relative, d.cosine);
}

template <class Model>
void text_rows(const std::string& name, const std::string& file, const BertConfig& config) {
  const SafeTensors expected = golden(file);
  const Tokens batch = hash_tokens(30522, {3, 17, 64});
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    Model model = hash_filled<Model>(config);
    for (const Member& member : members(model)) *member.tensor = to(*member.tensor, type);
    row(name + ", first token", type, model.cls(batch), expected.read("cls"));
    row(name + ", mean", type, model(batch).mean(), expected.read("mean"));
  }
}

void image_rows(const std::string& name, const std::string& file, const ResNetConfig& config) {
  const SafeTensors expected = golden(file);
  const ResNet model = hash_filled<ResNet>(config);
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    ResNet folded = model.folded(type);
    row(name + ", features", type, folded(hash_images(2, 224)), expected.read("stage.4"));
    row(name + ", logits", type, folded.logits(hash_images(2, 224)), expected.read("logits"));
  }
}

void clip_rows(const std::string& name, const std::string& file, const ClipConfig& config) {
  const SafeTensors expected = golden(file);
  const Tokens texts = end_tokens(config.vocab_size, {9, 77, 21}, {8, 76, 20});
  const Tensor images = hash_images(2, config.image_size);
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    Clip model = hash_filled<Clip>(config);
    for (const Member& member : members(model))
      if (member.trainable) *member.tensor = to(*member.tensor, type);
    row(name + ", pictures", type, model.embed_images(images), expected.read("image"));
    if (expected.has("text")) row(name + ", texts", type, model.embed_texts(texts), expected.read("text"));
  }
}

TEST_CASE("the table of docs/parity.md", "[.table]") {
  const NoGrad guard;
  std::puts("| model | precision | max error / max reference | cosine |\n|---|---|---|---|");
  text_rows<DistilBert>("DistilBERT", "distilbert", {.token_types = 0, .layers = 6});
  text_rows<Bert>("BERT base", "bert", {});
  image_rows("ResNet18", "resnet18",
             {.bottleneck = false, .depths = {2, 2, 2, 2}, .widths = {64, 128, 256, 512}, .classes = 1000});
  image_rows("ResNet50", "resnet50", {.classes = 1000});
  clip_rows("CLIP ViT-B/32", "clip_b32", {});
  clip_rows("CLIP ViT-L/14@336", "clip_l14_336",
            {.text = {.size = 768, .feed_forward = 3072, .heads = 12},
             .vision = {.size = 1024, .feed_forward = 4096, .layers = 24, .heads = 16},
             .image_size = 336,
             .patch = 14,
             .projection = 768});
  clip_rows("CLIP RN50", "clip_rn50", {.projection = 1024, .resnet = ClipResNetConfig{}});
  const std::filesystem::path minilm = std::filesystem::path(CLIP_MODELS) / "all-MiniLM-L6-v2";
  if (!std::filesystem::exists(minilm)) return;
  const auto sentences = read_lines(test_data("sentences.txt"));
  for (const dtype type : {dtype::f32, dtype::bf16})
    row("all-MiniLM-L6-v2 (pretrained), 50 sentences", type, TextEncoder::load(minilm, {}, type)(sentences),
        golden("minilm").read("embeddings"));
}

}  // namespace
