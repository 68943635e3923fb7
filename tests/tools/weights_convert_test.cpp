// Runs the program, as a user would.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <map>

#include "clip/io/file.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/nn/module.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/json.hpp"
#include "tests/support/archive.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;
namespace fs = std::filesystem;

namespace {

Outcome run(const std::vector<std::string>& arguments) { return run_program("weights_convert", arguments); }
using Weights = std::map<std::string, Tensor>;

template <class Model>
Weights weights_of(Model& model) {
  Weights weights;
  for (const Member& member : members(model)) weights[member.name] = *member.tensor;
  return weights;
}
/// The same tensors with some parts of their names replaced.
Weights renamed(const Weights& weights, const std::vector<std::pair<std::string, std::string>>& parts,
                const std::string& prefix) {
  Weights all;
  for (const auto& [old, tensor] : weights) {
    std::string name = old;
    for (const auto& [from, to] : parts)
      if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
    all[prefix + name] = tensor;
  }
  return all;
}
void write_safetensors(const fs::path& path, const Weights& weights) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : weights) tensors.push_back({name, tensor});
  save_safetensors(path, tensors);
}
/// The same as torch.save would write it, under `state_dict`.
std::string archive_of(const Weights& weights) {
  std::vector<ZipFile> files{{.name = "m/data.pkl", .data = ""}};
  std::string items;
  for (const auto& [name, tensor] : weights) {
    const std::string key = std::to_string(files.size());
    std::vector<std::int64_t> strides;
    for (int d = 0; d < tensor.rank(); ++d) {
      std::int64_t stride = 1;
      for (int inner = d + 1; inner < tensor.rank(); ++inner) stride *= tensor.shape(inner);
      strides.push_back(stride);
    }
    items += pickled_text(name) + pickled_tensor(pickled_storage(tensor.numel(), "FloatStorage", key), 0,
                                                 {tensor.shape().begin(), tensor.shape().end()}, strides);
    files.push_back(
        {.name = "m/data/" + key, .data = std::string(static_cast<const char*>(tensor.raw()), tensor.bytes())});
  }
  std::string pickle = "\x80\x02}(";
  pickle.append(pickled_text("epoch")).append("K\x03").append(pickled_text("state_dict")).append("}(");
  files[0] = {.name = "m/data.pkl", .data = pickle + items + "uu."};
  return zip_archive(files);
}

void check_same(const fs::path& folder, const Weights& expected) {
  const SafeTensors file = SafeTensors::open(folder);
  CHECK(file.tensors().size() == expected.size());
  for (const auto& [name, tensor] : expected) {
    INFO(name);
    REQUIRE(file.has(name));
    CHECK(file.info(name).shape == tensor.shape());
    CHECK(file.read(name).to_vector() == tensor.to_vector());
  }
}

ResNetConfig tiny_resnet(bool bottleneck) {
  ResNetConfig config;
  config.bottleneck = bottleneck;
  config.depths = {2, 1};
  config.widths = {16, 32};
  config.stem = 8;
  config.reduction = 2;
  config.classes = 3;
  return config;
}
BertConfig tiny_bert(std::int64_t token_types) {
  BertConfig config;
  config.vocab_size = 20;
  config.max_positions = 12;
  config.token_types = token_types;
  config.size = 128;
  config.feed_forward = 96;
  config.layers = 2;
  config.heads = 2;
  return config;
}
const std::vector<std::pair<std::string, std::string>> huggingface_resnet{
    {"layer1.", "encoder.stages.0.layers."},    {"layer2.", "encoder.stages.1.layers."},
    {"downsample.0", "shortcut.convolution"},   {"downsample.1", "shortcut.normalization"},
    {".conv1", ".layer.0.convolution"},         {".conv2", ".layer.1.convolution"},
    {".conv3", ".layer.2.convolution"},         {".bn1", ".layer.0.normalization"},
    {".bn2", ".layer.1.normalization"},         {".bn3", ".layer.2.normalization"},
    {"conv1", "embedder.embedder.convolution"}, {"bn1", "embedder.embedder.normalization"}};

}  // namespace

TEST_CASE("weights_convert makes a folder of a ResNet's checkpoint", "[tools]") {
  for (const bool bottleneck : {true, false}) {
    const TemporaryFolder folder;
    Random random(1);
    ResNet model(tiny_resnet(bottleneck), random);
    const Weights weights = weights_of(model);
    Weights saved = renamed(weights, {}, "module.");
    saved["module.bn1.num_batches_tracked"] = Tensor::of({1});
    const fs::path input = folder.write("net-11ad3fa6.pth", archive_of(saved));
    const Outcome outcome = run({input, folder / "new" / "net"});
    CHECK(outcome.status == 0);
    CHECK(outcome.error.empty());
    CHECK(contains(outcome.out,
                   "net-11ad3fa6.pth: a PyTorch archive of " + std::to_string(saved.size()) + " tensors, a resnet"));
    CHECK(contains(outcome.out, "left out 1\n"));
    CHECK(contains(outcome.out, "module.fc.bias -> fc.bias"));
    CHECK(contains(outcome.out, "a counter that only training uses:\n  module.bn1.num_batches_tracked"));
    check_same(folder / "new/net", weights);
    CHECK(ResNet::load(folder / "new/net").config.reduction == (bottleneck ? 2 : 4));
    const JsonFile pictures(folder / "new/net/preprocessor_config.json");
    CHECK(pictures.text("weights") == "torchvision IMAGENET1K_V1");
    CHECK(pictures.json()["size"]["shortest_edge"] == 256);
    CHECK(std::distance(fs::directory_iterator(folder / "new"), {}) == 1);
  }
}

TEST_CASE("weights_convert knows Hugging Face's ResNet, and which recipe its pictures need", "[tools]") {
  const TemporaryFolder folder;
  Random random(2);
  ResNet model(tiny_resnet(true), random);
  Weights weights = weights_of(model), saved = renamed(weights, huggingface_resnet, "resnet.");
  for (const char* part : {"weight", "bias"}) {
    saved[std::string("classifier.1.") + part] = weights[std::string("fc.") + part];
    saved.erase(std::string("resnet.fc.") + part);
  }
  write_safetensors(folder / "model.safetensors", saved);
  CHECK(run({folder.path(), folder / "a", "--preprocess", "torchvision-v2"}).status == 0);
  check_same(folder / "a", weights);
  CHECK(JsonFile(folder / "a/preprocessor_config.json").json()["size"]["shortest_edge"] == 232);

  folder.write("preprocessor_config.json", "{\"own\": 1}");
  folder.write("config.json", R"({"architecture": "resnet50", "pretrained_cfg": {"crop_pct": 0.95}})");
  CHECK(run({folder.path(), folder / "b"}).status == 0);
  CHECK(read_file(folder / "b/preprocessor_config.json") == "{\"own\": 1}");
  CHECK(JsonFile(folder / "b/config.json").json()["pretrained_cfg"]["crop_pct"] == 0.95);
  check_same(folder / "b", weights);
  folder.write("config.json", R"({"architecture": "resnetblur50", "pretrained_cfg": {"crop_pct": 0.95}})");
  const Outcome blurred = run({folder.path(), folder / "c"});
  CHECK(blurred.status == 1);
  CHECK(contains(blurred.error, "expected a plain ResNet"));
  CHECK(!fs::exists(folder / "c"));
}

TEST_CASE("weights_convert makes folders of DistilBERT and BERT, in any dtype", "[tools]") {
  const TemporaryFolder folder;
  Random random(3);
  DistilBert distilbert(tiny_bert(0), random);
  const Weights weights = weights_of(distilbert);
  Weights saved = renamed(weights, {}, "distilbert.");
  saved["vocab_projector.weight"] = Tensor::of({1});
  const fs::path input = folder.write("distil.bin", archive_of(saved)),
                 words = folder.write("words", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  const Outcome outcome = run({input, folder / "distil", "--dtype", "bf16", "--vocab", words});
  CHECK(outcome.status == 0);
  CHECK(contains(outcome.out, "assumed 2 attention heads (128 features / 64)"));
  CHECK(contains(outcome.out, "not of the encoder 'distilbert.':\n  vocab_projector.weight"));
  CHECK(read_file(folder / "distil/vocab.txt") == "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  const SafeTensors file = SafeTensors::open(folder / "distil");
  CHECK(file.tensors().size() == weights.size());
  for (const auto& [name, tensor] : weights)
    CHECK(to(file.read(name), dtype::f32).to_vector() == to(to(tensor, dtype::bf16), dtype::f32).to_vector());

  Bert bert(tiny_bert(2), random);
  const fs::path beside = folder / "hub";
  fs::create_directories(beside / "1_Pooling");
  write_safetensors(beside / "model.safetensors",
                    renamed(weights_of(bert),
                            {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}}, "bert."));
  const std::string config = R"({"model_type": "bert", "vocab_size": 20, "max_position_embeddings": 12,
    "type_vocab_size": 2, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4})";
  const std::map<std::string, std::string> files{{"config.json", config},
                                                 {"1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true}"},
                                                 {"modules.json", "[]"},
                                                 {"vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"}};
  for (const auto& [name, content] : files) write_file(beside / name, content);
  CHECK(run({beside / "model.safetensors", folder / "bert"}).status == 0);
  for (const auto& [name, content] : files) CHECK(read_file(folder / "bert" / name) == content);
  check_same(folder / "bert", weights_of(bert));
}

TEST_CASE("weights_convert --list shows every tensor, and writes nothing", "[tools]") {
  const Outcome outcome = run({"--list", test_data("archive/types.zip.pt")});
  CHECK(outcome.status == 0);
  CHECK(contains(outcome.out, "float64   f64       [6]       48\n"));
  CHECK(contains(outcome.out, "bool      bool      [6]        6\n"));
  CHECK(contains(outcome.out, "10 tensors, 198 bytes: a PyTorch archive\n"));
  const TemporaryFolder folder;
  std::string damaged = read_file(test_data("archive/types.zip.pt"));
  damaged[damaged.find("data/3") + 80] ^= 1;  // among the elements
  const Outcome refused = run({"--list", folder.write("x.pt", damaged)});
  CHECK(refused.status == 1);
  CHECK(contains(refused.error, "x.pt"));
  CHECK(refused.out.empty());
}

TEST_CASE("weights_convert fails in one line, and leaves what was there", "[tools]") {
  const TemporaryFolder folder;
  Random random(4);
  ResNet model(tiny_resnet(true), random);
  Weights weights = weights_of(model);
  fs::create_directory(folder / "out");
  write_file(folder / "out/config.json", "before");
  const auto fails = [&](const std::vector<std::string>& arguments, int status, const std::string& part) {
    for (const fs::path& output : {folder / "out", folder / "none"}) {
      std::vector<std::string> all{output};
      all.insert(all.begin(), arguments[0]);
      all.insert(all.end(), arguments.begin() + 1, arguments.end());
      const Outcome outcome = run(all);
      CHECK(outcome.status == status);
      CHECK(outcome.out.empty());
      CHECK(outcome.error.rfind("error: ", 0) == 0);
      CHECK(std::count(outcome.error.begin(), outcome.error.end(), '\n') == 1);
      CHECK(contains(outcome.error, part));
      CHECK(read_file(folder / "out/config.json") == "before");
      CHECK(std::distance(fs::directory_iterator(folder / "out"), {}) == 1);
      CHECK(!fs::exists(folder / "none"));
    }
    for (const auto& entry : fs::directory_iterator(folder.path()))
      CHECK(entry.path().filename().string().find("tmp") == std::string::npos);
  };
  fails({folder / "missing.pth"}, 1, "missing.pth");
  fails({folder.write("evil.pth", torch_archive(pickled_dict("cos\nsystem\n(" + pickled_text("true") + "tR")))}, 1,
        "os.system");
  fails({folder.write("text.pth", "no weights")}, 1, "text.pth' is neither");
  fails({folder.write("x.pth", archive_of(weights)), "--arch", "bert"}, 1, "tensors of a bert");
  fails({folder / "x.pth", "--arch", "clip"}, 1, "expected the tensors of a clip in ");
  fails({folder / "x.pth", "--vocab=" + (folder / "no.txt").string()}, 1, "no.txt");
  weights.erase("layer1.1.bn2.bias");
  fails({folder.write("y.pth", archive_of(weights))}, 1, "layer1.1.bn2.bias");
  weights.erase("layer2.0.conv2.weight");
  fails({folder.write("y.pth", archive_of(weights))}, 1, "'layer2.0.conv2.weight' is missing");
  folder.write("config.json", R"({"model_type": "vit"})");
  fails({folder / "x.pth"}, 1, "'resnet' in");
  fails({folder / "x.pth", "--arch", "vgg"}, 2, "--arch");
  fails({folder / "x.pth", "--odd"}, 2, "--odd");
  fails({folder / "x.pth", "--list"}, 2, "--list");
  CHECK(run({}).status == 2);
  CHECK(run({folder / "x.pth"}).status == 2);
  CHECK(run({folder / "x.pth", folder / "y.pth"}).status == 1);  // a file, not a folder
}

TEST_CASE("weights_convert overwrites a model, or nothing of it", "[tools]") {
  const TemporaryFolder folder;
  Random random(5);
  DistilBert model(tiny_bert(0), random);
  const Weights weights = weights_of(model);
  const fs::path input = folder.write("x.bin", archive_of(weights)), out = folder / "out",
                 words = folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  const std::string config =
      R"({"model_type": "distilbert", "vocab_size": 20, "max_position_embeddings": 12, "dim": 128,
    "hidden_dim": 96, "n_layers": 2, "n_heads": 2})";
  folder.write("config.json", config);
  fs::create_directory(folder / "1_Pooling");
  folder.write("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\":true}");
  const auto refused = [&](const fs::path& place, bool as_folder, const std::string& message) {
    fs::create_directories(out);
    write_file(out / "config.json", "before");
    if (as_folder)
      fs::create_directories(place / "inner");
    else
      write_file(place, "");
    const Outcome outcome = run({input, out});
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.error, message));
    CHECK(read_file(out / "config.json") == "before");
    CHECK(std::distance(fs::directory_iterator(out), {}) == 2);
    CHECK(!fs::exists(folder / ".out.tmp"));
    fs::remove_all(out);
  };
  refused(out / "model.safetensors", true, "cannot write " + quoted(out / "model.safetensors") + ": it is a folder");
  refused(out / "vocab.txt", true, "cannot write " + quoted(out / "vocab.txt") + ": it is a folder");
  refused(out / "1_Pooling", false, quoted(out / "1_Pooling") + " is no folder");
  folder.write("config.json", config.substr(0, config.size() - 2) + "3}");  // heads that do not divide 128
  refused(out / "README", false, "for 'n_heads' in " + quoted(out / "config.json"));
  CHECK(contains(run({input, folder / "a/b/c"}).error, "for 'n_heads' in " + quoted(folder / "a/b/c/config.json")));
  CHECK(!fs::exists(folder / "a"));

  folder.write("config.json", config);
  fs::create_directories(out);
  write_file(out / "README", "mine");
  const fs::path left = folder / ".out.tmp";  // by a run that was killed
  fs::create_directories(left / "1_Pooling");
  write_file(left / "1_Pooling/odd", "");
  CHECK(contains(run_on_full_disk("weights_convert", {input, out}), "cannot write to stdout"));
  check_same(out, weights);
  CHECK(read_file(out / "README") == "mine");
  CHECK(!fs::exists(out / "1_Pooling/odd"));
  CHECK(!fs::exists(left));

  fs::create_directory(left);
  const int lock = ::open(left.c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(lock, LOCK_EX) == 0);
  CHECK(contains(run({input, out}).error, "another run is writing " + quoted(out)));
  CHECK(fs::exists(left));
  ::close(lock);
}

TEST_CASE("weights_convert leaves nothing when it is interrupted", "[tools]") {
  const TemporaryFolder folder;
  Random random(6);
  BertConfig config = tiny_bert(0);
  config.vocab_size = 100'000;
  DistilBert model(config, random);
  write_safetensors(folder / "x.safetensors", weights_of(model));
  fs::create_directory(folder / "out");
  const auto begun = [&] { return !fs::is_empty(folder / "out"); };
  CHECK(interrupt_program("weights_convert", {folder / "x.safetensors", folder / "out/a/b"}, begun) == 1);
  CHECK(!begun());
}

TEST_CASE("weights_convert explains itself", "[tools]") {
  const Outcome help = run({"--help"}), version = run({"--version"});
  CHECK(help.status == 0);
  CHECK(contains(help.out, "Example:"));
  CHECK(version.status == 0);
  CHECK(contains(version.out, "weights_convert (clipcore 0."));
}
