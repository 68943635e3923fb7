// Turns weights of other formats into a model folder.
#include <iostream>
#include <map>
#include <string>

#include "examples/support/program.hpp"
#include "tools/weights_convert/convert.hpp"

using namespace clip;

int main(int argc, char** argv) {
  Program program(
      "weights_convert",
      "Turns a PyTorch archive (.pth, .pt, .bin; TorchScript too) or safetensors into a model folder, without "
      "PyTorch. config.json, tokenizer and preprocessor files beside INPUT are used and carried over.",
      "weights_convert resnet50-11ad3fa6.pth models/resnet50");
  const std::map<std::string, Architecture> architectures{
      {"resnet50", Architecture::resnet}, {"distilbert", Architecture::distilbert}, {"bert", Architecture::bert}};
  const std::map<std::string, dtype> types{{"f32", dtype::f32}, {"f16", dtype::f16}, {"bf16", dtype::bf16}};
  const std::map<std::string, Preprocess> recipes{{"torchvision-v1", Preprocess::torchvision_v1},
                                                  {"torchvision-v2", Preprocess::torchvision_v2},
                                                  {"timm-a1", Preprocess::timm_a1}};
  std::string input, output, architecture = "auto", type, preprocess = "auto";
  ConvertOptions options;
  bool only_list = false;
  program.option("INPUT", &input, "the weights: a file, or a folder that holds them").required();
  program.option("OUTPUT_DIR", &output, "the folder to write");
  program.option("--list", &only_list,
                 "print name, dtype, shape and bytes of every tensor of INPUT, and write nothing");
  program.option("--arch", &architecture, "what the weights are (default: auto, by the names of the tensors)")
      .one_of({"auto", "resnet50", "distilbert", "bert", "clip"});
  program.option("--dtype", &type, "store floating tensors as this (default: as they are; f64 becomes f32)")
      .one_of({"f32", "f16", "bf16"});
  program
      .option("--preprocess", &preprocess,
              "how pictures are prepared for a ResNet (default: auto, what is known of INPUT)")
      .one_of({"auto", "torchvision-v1", "torchvision-v2", "timm-a1"});
  program.option("--vocab", &options.vocabulary, "vocabulary files to put in the folder; comes last");

  return program.run(argc, argv, [&] {
    if (only_list) {
      if (!output.empty()) throw WrongUsage("--list takes INPUT alone");
      list(input, std::cout);
      return;
    }
    if (output.empty()) throw WrongUsage("OUTPUT_DIR is required");
    catch_interrupts();
    check(architecture != "clip", "weights_convert", "CLIP models cannot be converted yet");
    if (architecture != "auto") options.architecture = architectures.at(architecture);
    if (!type.empty()) options.type = types.at(type);
    if (preprocess != "auto") options.preprocess = recipes.at(preprocess);
    convert(input, output, options, std::cout);
  });
}
