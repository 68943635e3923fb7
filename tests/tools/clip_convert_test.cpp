// CLIP's weights under OpenAI's and open_clip's names, as the program turns them into a folder.
#include <filesystem>
#include <string>

#include "clip/autograd.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/json.hpp"
#include "tests/models/foreign_clip.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;

const ClipConfig vit = {.text = {.size = 64, .feed_forward = 48, .layers = 2, .heads = 1},
                        .vision = {.size = 128, .feed_forward = 40, .layers = 2, .heads = 2},
                        .vocab_size = 60,
                        .context = 20,
                        .end_id = 59,
                        .image_size = 32,
                        .patch = 8,
                        .projection = 16};
ClipConfig resnet_config() {
  ClipConfig config = vit;
  config.resnet = ClipResNetConfig{.depths = {1, 2, 1, 1}, .width = 4, .heads = 2, .image_size = 64};
  return config;
}

Outcome run(const std::vector<std::string>& arguments) { return run_program("weights_convert", arguments); }

void check_same(const Clip& result, const Clip& model, std::int64_t image_size) {
  const Tokens texts = end_tokens(60, {7, 2, 12}, {6, 1, 8});
  CHECK(compare(result.embed_texts(texts), model.embed_texts(texts)).relative < 1e-6);
  const Tensor images = hash_images(2, image_size);
  CHECK(compare(result.embed_images(images), model.embed_images(images)).relative < 1e-6);
}

const char* const open_clip_config = R"({"model_cfg": {"embed_dim": 16,
  "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8, "timm_model_name": null},
  "text_cfg": {"context_length": 20, "vocab_size": 60, "width": 64, "heads": 1, "layers": 2}},
  "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic",
                     "resize_mode": "shortest"}})";

TEST_CASE("weights_convert makes folders of OpenAI's CLIP, which has QuickGELU", "[tools][clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  Clip model = hash_filled<Clip>(vit);
  for (const Member& member : members(model))
    *member.tensor = to(to(*member.tensor, dtype::f16), dtype::f32);  // the file's precision
  std::vector<NamedTensor> tensors = foreign_clip(model, "", "", dtype::f16);
  add_constants(tensors);
  save_safetensors(folder / "ViT.safetensors", tensors);
  const Outcome outcome = run({folder / "ViT.safetensors", folder / "out", "--dtype", "f32"});
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  CHECK(contains(outcome.out, "a clip"));
  CHECK(contains(outcome.out, "activation quick_gelu: this is an archive of OpenAI's"));
  CHECK(contains(outcome.out, "2 transposed, 8 split into query, key and value"));
  CHECK(contains(outcome.out, "a vision transformer of 2 layers of 128, patches of 8, for pictures of 32"));
  CHECK(contains(outcome.out, "left out, a constant:\n  input_resolution"));
  check_same(Clip::load(folder / "out"), model, 32);
  const Preprocessing pictures = Preprocessor::load(folder / "out").settings();
  CHECK((pictures.pipeline == Pipeline::openai && pictures.shorter_side == 32 && pictures.crop == Size{32, 32}));
  CHECK(contains(read_file(folder / "out/tokenizer_config.json"), "\"pipeline\": \"openai\""));

  folder.write("open_clip_config.json", open_clip_config);  // of another model, with another activation
  CHECK(contains(run({folder / "ViT.safetensors", folder / "other"}).error, "expected true, as this is an archive of"));
  std::filesystem::remove(folder / "open_clip_config.json");

  Clip resnet = hash_filled<Clip>(resnet_config());
  tensors = foreign_clip(resnet, "", "", dtype::f32);
  add_constants(tensors);
  save_safetensors(folder / "RN.safetensors", tensors);
  REQUIRE(run({folder / "RN.safetensors", folder / "rn"}).status == 0);
  check_same(Clip::load(folder / "rn"), resnet, 64);
}

TEST_CASE("weights_convert makes folders of open_clip's models, and asks for their activation", "[tools][clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  ClipConfig config = vit;
  config.text.activation = config.vision.activation = Activation::gelu;
  Clip model = hash_filled<Clip>(config);
  const std::string input = folder / "open_clip_model.safetensors", out = folder / "out";
  save_safetensors(input, foreign_clip(model, "module.", "text.", dtype::f32));
  CHECK(contains(run({input, out}).error, "cannot tell the activation of"));
  CHECK(!std::filesystem::exists(out));
  folder.write("open_clip_config.json", open_clip_config);
  folder.write("special_tokens_map.json", R"({"pad_token": "<|endoftext|>"})");
  const Outcome outcome = run({input, out});
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  CHECK(contains(outcome.out, "activation gelu, as open_clip_config.json beside the input says"));
  check_same(Clip::load(out), model, 32);
  CHECK(Preprocessor::load(out).settings().mean[0] == 0.5f);
  CHECK(!std::filesystem::exists(out + "/special_tokens_map.json"));

  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = open_clip_config;
    replace(text, from, to);
    folder.write("open_clip_config.json", text);
    return run({input, out});
  };
  REQUIRE(with("\"embed_dim\"", "\"quick_gelu\": true, \"embed_dim\"").status == 0);
  CHECK(ClipConfig::read(out).vision.activation == Activation::quick_gelu);
  CHECK(contains(with("\"width\": 128", "\"width\": 192").error, "'vision_cfg.width'"));
  CHECK(contains(with("\"layers\": 2}}", "\"layers\": 3}}").error, "'text_cfg.layers'"));
  CHECK(contains(with("null", "\"vit_base\"").error, "'vision_cfg.timm_model_name'"));
  CHECK(contains(with("\"heads\"", "\"embed_cls\": true, \"heads\"").error, "'text_cfg.embed_cls'"));
  CHECK(contains(with("\"shortest\"", "\"squash\"").error, "'preprocess_cfg.resize_mode'"));

  std::vector<NamedTensor> tensors = foreign_clip(model, "", "", dtype::f32);
  tensors.push_back({"visual.attn_pool.query", zeros({2, 2})});
  save_safetensors(input, tensors);
  CHECK(contains(with("", "").error, "has 1 tensors that CLIP does not have, the first 'visual.attn_pool.query'"));
  tensors.pop_back();
  std::erase_if(tensors, [](const NamedTensor& one) { return one.name == "ln_final.bias"; });
  save_safetensors(input, tensors);
  CHECK(contains(with("", "").error, "missing: text_model.final_layer_norm.bias"));
}

TEST_CASE("weights_convert copies Hugging Face's CLIP as it is", "[tools][clip]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  Clip model = hash_filled<Clip>(vit);
  save(model, folder / "model.safetensors");
  CHECK(contains(run({folder / "model.safetensors", folder / "out"}).error, "put its config.json beside the input"));
  folder.write("config.json", R"({"model_type": "clip", "projection_dim": 16,
    "text_config": {"hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 1,
                    "vocab_size": 60, "max_position_embeddings": 20, "eos_token_id": 59},
    "vision_config": {"hidden_size": 128, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "image_size": 32, "patch_size": 8}})");
  const Outcome outcome = run({folder / "model.safetensors", folder / "out"});
  INFO(outcome.error);
  REQUIRE(outcome.status == 0);
  CHECK(contains(outcome.out, "config.json taken from beside the input"));
  check_same(Clip::load(folder / "out"), model, 32);
}

}  // namespace
}  // namespace clip
