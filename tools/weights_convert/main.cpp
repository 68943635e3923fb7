// Turns weights of other formats into a model folder.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <iostream>
#include <map>
#include <string>

#include "clip/core/error.hpp"
#include "tools/weights_convert/convert.hpp"

namespace {

using namespace clip;

constexpr const char* example =
    "Example:\n"
    "  curl -LO https://download.pytorch.org/models/resnet50-11ad3fa6.pth\n"
    "  weights_convert resnet50-11ad3fa6.pth models/resnet50\n"
    "\n"
    "config.json, tokenizer and preprocessor files that lie beside INPUT are used and carried over.";

int run(int argc, char** argv) {
  CLI::App app(
      "Turns a PyTorch archive (.pth, .pt, .bin; TorchScript too) or safetensors into a model folder, without PyTorch.",
      "weights_convert");
  app.footer(example);
  app.set_version_flag("--version", "weights_convert " CLIP_VERSION);

  std::string input, output, architecture = "auto", type, preprocess = "auto";
  std::vector<std::string> vocabulary;
  bool only_list = false;
  app.add_option("INPUT", input, "The weights: a file, or a folder that holds them")->required();
  app.add_option("OUTPUT_DIR", output, "The folder to write");
  app.add_flag("--list", only_list, "Print name, dtype, shape and bytes of every tensor of INPUT, and write nothing");
  app.add_option("--arch", architecture, "What the weights are (default: auto, by the names of the tensors)")
      ->check(CLI::IsMember({"auto", "resnet50", "distilbert", "bert", "clip"}));
  app.add_option("--dtype", type, "Store floating tensors as this (default: as they are; f64 becomes f32)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--preprocess", preprocess,
                 "How pictures are prepared for a ResNet (default: auto, what is known of INPUT)")
      ->check(CLI::IsMember({"auto", "torchvision-v1", "torchvision-v2", "timm-a1"}));
  app.add_option("--vocab", vocabulary, "Vocabulary files to put in the folder")->type_name("FILE");
  try {
    app.parse(argc, argv);
    if (only_list == !output.empty()) throw CLI::RequiredError(only_list ? "INPUT alone with --list" : "OUTPUT_DIR");
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    std::cerr << "error: " << e.what() << "; weights_convert --help shows the usage\n";
    return 2;
  }
  if (only_list) {
    list(input, std::cout);
    return 0;
  }

  check(architecture != "clip", "weights_convert", "CLIP models cannot be converted yet");
  const std::map<std::string, Architecture> architectures{
      {"resnet50", Architecture::resnet}, {"distilbert", Architecture::distilbert}, {"bert", Architecture::bert}};
  const std::map<std::string, dtype> types{{"f32", dtype::f32}, {"f16", dtype::f16}, {"bf16", dtype::bf16}};
  const std::map<std::string, Preprocess> recipes{{"torchvision-v1", Preprocess::torchvision_v1},
                                                  {"torchvision-v2", Preprocess::torchvision_v2},
                                                  {"timm-a1", Preprocess::timm_a1}};
  ConvertOptions options;
  if (const auto found = architectures.find(architecture); found != architectures.end())
    options.architecture = found->second;
  if (const auto found = types.find(type); found != types.end()) options.type = found->second;
  if (const auto found = recipes.find(preprocess); found != recipes.end()) options.preprocess = found->second;
  options.vocabulary.assign(vocabulary.begin(), vocabulary.end());
  convert(input, output, options, std::cout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int status = run(argc, argv);
    std::cout.flush();
    if (!std::cout) throw Error("cannot write to standard output");
    return status;
  } catch (const std::exception& e) {
    std::string message = e.what();
    std::replace(message.begin(), message.end(), '\n', ' ');  // a list of tensors has a line for each
    std::cerr << "error: " << message << '\n';
    return 1;
  }
}
