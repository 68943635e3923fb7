#include "tools/weights_convert/convert.hpp"

#include <algorithm>
#include <cctype>
#include <iomanip>
#include <map>
#include <sstream>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/image/preprocess.hpp"
#include "clip/io/file.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/models/text_encoder.hpp"
#include "clip/ops/cast.hpp"
#include "examples/support/program.hpp"
#include "src/io/folder.hpp"
#include "tools/weights_convert/clip.hpp"
#include "tools/weights_convert/weights_file.hpp"
#include "tools/weights_convert/work_folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr const char* weights_name = "model.safetensors";

/// Files beside the input that a model folder keeps as they are.
constexpr const char* carried[] = {"preprocessor_config.json",
                                   "processor_config.json",
                                   "vocab.txt",
                                   "vocab.json",
                                   "merges.txt",
                                   "tokenizer.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "modules.json",
                                   "sentence_bert_config.json",
                                   "1_Pooling/config.json",
                                   "config_sentence_transformers.json",
                                   "open_clip_config.json"};

/// What is to be written: small files by name, and the weights.
struct ModelFolder {
  std::map<std::string, std::string> files;
  std::vector<NamedTensor> tensors;
};

/// Whether timm's name of an architecture is that of a ResNet as torchvision has it: resnet50, wide_resnet50_2,
/// tv_resnet34. Others, such as resnetblur50, have the same tensors.
bool is_plain_resnet(std::string_view name) {
  for (const std::string_view prefix : {"tv_", "wide_"})
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  if (!name.starts_with("resnet")) return false;
  name.remove_prefix(6);
  if (name.ends_with("_2")) name.remove_suffix(2);
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The settings of the model: those beside the input, else what the shapes tell.
std::string config_of(const WeightsFile& input, const WeightNames& names, std::vector<std::string>& notes) {
  Shapes shapes;
  std::map<std::string_view, const TensorInfo*> by_source;
  for (const TensorInfo& tensor : input.tensors()) by_source[tensor.name] = &tensor;
  for (const WeightNames::Mapped& one : names.mapped) shapes[one.name] = by_source.at(one.source)->shape;

  const fs::path beside = input.path().parent_path() / "config.json";
  if (!is_there(beside)) {
    notes.push_back("config.json made from the shapes of the tensors, as none lies beside the input");
    return infer_config(names.architecture, shapes, notes).dump(2) + "\n";
  }
  const JsonFile json(beside);
  if (json.has("model_type")) {
    check(json.text("model_type") == name_of(names.architecture), "weights_convert", "expected the model_type '",
          name_of(names.architecture), "' in ", quoted(beside), ", got '", printable(json.text("model_type")),
          "': if this file does not belong to the input, move the input elsewhere");
    notes.push_back("config.json taken from beside the input");
    return read_file(beside);
  }
  check(names.architecture == Architecture::resnet && json.has("pretrained_cfg"), "weights_convert",
        "expected a 'model_type' in ", quoted(beside),
        ": if this file does not belong to the input, move the input elsewhere");
  if (!is_plain_resnet(json.text("architecture", "")))
    json.wrong("architecture", "a plain ResNet: others compute something else with the same tensors");
  Json config =
      infer_config(names.architecture, shapes, notes);  // timm's says how to preprocess, not what the model is
  config["pretrained_cfg"] = json.json()["pretrained_cfg"];
  notes.push_back("config.json made from the shapes of the tensors and timm's preprocessing beside the input");
  return config.dump(2) + "\n";
}

/// Whether CLIP's vocabulary is among files, as `has` tells.
template <class Has>
bool has_clip_tokenizer(const Has& has) {
  return has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
}

/// The files that go with the weights: carried over, given, or, for a ResNet, made.
void add_files(ModelFolder& folder, const WeightsFile& input, Architecture architecture, const ConvertOptions& options,
               std::vector<std::string>& notes) {
  std::string names;
  for (const char* name : carried) {
    const fs::path beside = input.path().parent_path() / name;
    if (!is_there(beside) || is_folder(beside)) continue;
    folder.files[name] = read_file(beside);
    names.append(names.empty() ? "" : ", ").append(name);
  }
  if (!names.empty()) notes.push_back("carried over " + names);
  const bool text = architecture != Architecture::resnet;
  for (const fs::path& file : options.vocabulary) {
    const std::string name = file.filename().string();
    if (architecture == Architecture::clip && name.starts_with("bpe_simple_vocab")) {
      ClipVocabulary vocabulary = read_simple_vocabulary(file);
      folder.files["vocab.json"] = std::move(vocabulary.vocab);
      folder.files["merges.txt"] = std::move(vocabulary.merges);
      continue;
    }
    const bool known = name == "vocab.txt" || name == "vocab.json" || name == "merges.txt" || name == "tokenizer.json";
    check(known || (text && architecture != Architecture::clip && options.vocabulary.size() == 1), "weights_convert",
          "expected vocab.txt, vocab.json, merges.txt or tokenizer.json for --vocab, got ", quoted(file));
    folder.files[known ? name : "vocab.txt"] = read_file(file);
  }
  if (architecture == Architecture::clip) {
    if (!has_clip_tokenizer([&](const char* name) { return folder.files.contains(name); }))
      notes.push_back(
          "no vocabulary lies beside the input: give vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt, with "
          "--vocab, or copy them into the folder");
    return;
  }
  if (text && !folder.files.contains("vocab.txt") && !folder.files.contains("tokenizer.json"))
    notes.push_back("no vocabulary lies beside the input: give vocab.txt with --vocab, or copy it into the folder");

  const bool told = folder.files.contains("preprocessor_config.json") ||
                    folder.files.contains("processor_config.json") ||
                    parse_json(folder.files["config.json"], "config.json").contains("pretrained_cfg");
  if (text || (told && !options.preprocess)) return;
  const auto known = options.preprocess ? options.preprocess : known_preprocess(input.path().filename().string());
  const Json config = preprocessor_config(known.value_or(Preprocess::torchvision_v1));
  folder.files["preprocessor_config.json"] = config.dump(2) + "\n";
  folder.files.erase("processor_config.json");
  notes.push_back("preprocessor_config.json of " + config["weights"].get<std::string>() +
                  (known ? "" : ", assumed: the weights do not tell; --preprocess chooses another"));
}

/// Says what became of the tensors, each reason once.
void print_names(const WeightsFile& input, const WeightNames& names, std::ostream& report) {
  report << printable(input.path().string()) << ": " << input.format() << " of " << input.tensors().size()
         << " tensors, a " << name_of(names.architecture) << '\n';
  std::size_t renamed = 0;
  for (const WeightNames::Mapped& one : names.mapped) renamed += one.source != one.name;
  report << "mapped " << names.mapped.size() << ", " << renamed << " under new names; left out "
         << names.left_out.size() << '\n';
  for (const WeightNames::Mapped& one : names.mapped)
    if (one.source != one.name) report << "  " << printable(one.source) << " -> " << one.name << '\n';
  std::map<std::string, std::vector<std::string>> reasons;
  for (const WeightNames::LeftOut& one : names.left_out) reasons[one.reason].push_back(printable(one.source));
  for (const auto& [reason, sources] : reasons) {
    report << "left out, " << printable(reason) << ":\n";
    for (const std::string& source : sources) report << "  " << source << '\n';
  }
}

/// The same of a CLIP under OpenAI's names, beside its parts.
WeightNames names_of(const ForeignClip& clip) {
  WeightNames names{.architecture = Architecture::clip, .mapped = {}, .left_out = {}};
  for (const ClipPart& part : clip.parts) names.mapped.push_back({part.name, part.source});
  for (const std::string& source : clip.left_out) names.left_out.push_back({source, "a constant"});
  return names;
}

/// Loads what was written, as every program would, so that a folder that does not load is never left.
void check_loads(Architecture architecture, const fs::path& folder, const fs::path& input) {
  try {
    switch (architecture) {
      case Architecture::resnet:
        ResNet::load(folder);
        Preprocessor::load(folder);
        break;
      case Architecture::distilbert:
      case Architecture::bert:
        if (is_there(folder / "vocab.txt") || is_there(folder / "tokenizer.json"))
          TextEncoder::load(folder);
        else if (architecture == Architecture::bert)
          Bert::load(folder);
        else
          DistilBert::load(folder);
        break;
      case Architecture::clip:
        if (has_clip_tokenizer([&](const char* name) { return is_there(folder / name); }) &&
            (is_there(folder / "preprocessor_config.json") || is_there(folder / "processor_config.json")))
          ClipEncoder::load(folder);
        else
          Clip::load(folder);
        break;
    }
  } catch (const Error& e) {
    fail("weights_convert", quoted(input), " does not make a whole model: ", e.what());
  }
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

void convert(const fs::path& input, const fs::path& output, const ConvertOptions& options, std::ostream& report) {
  fs::path folder_path = output.has_filename() ? output : output.parent_path();  // without a slash at the end
  check(folder_path.has_filename() && (!is_there(folder_path) || is_folder(folder_path)), "weights_convert",
        "expected a folder to write to, but ", quoted(output), " is something else");
  const WeightsFile file = WeightsFile::open(input);
  std::vector<std::string> notes;
  std::optional<ForeignClip> clip;
  if (!options.architecture || *options.architecture == Architecture::clip) clip = find_foreign_clip(file, notes);
  const WeightNames names = clip ? names_of(*clip) : weight_names(file.tensors(), file.path(), options.architecture);

  ModelFolder folder;
  folder.files["config.json"] = clip ? clip->config.dump(2) + "\n" : config_of(file, names, notes);
  add_files(folder, file, names.architecture, options, notes);
  if (clip) {  // in place of what was carried over: pictures and texts are those of OpenAI's pipeline
    folder.files["preprocessor_config.json"] = clip->preprocessor_config.dump(2) + "\n";
    folder.files["tokenizer_config.json"] = clip->tokenizer_config.dump(2) + "\n";
    for (const char* replaced : {"special_tokens_map.json", "processor_config.json"}) folder.files.erase(replaced);
    notes.emplace_back("preprocessor_config.json and tokenizer_config.json of OpenAI's pipeline");
  }
  std::vector<std::string> places;
  for (const auto& [name, content] : folder.files) places.push_back(name);
  places.emplace_back(weights_name);  // last: a folder with new weights has all that goes with them
  WorkFolder::check_places(folder_path, places);
  for (std::size_t i = 0; i < names.mapped.size(); ++i) {
    stop_if_interrupted();
    const WeightNames::Mapped& one = names.mapped[i];
    Tensor tensor = clip ? read_part(file, clip->parts[i]) : file.read(one.source);
    if (options.type && is_floating(tensor.dtype())) tensor = to(tensor, *options.type);
    folder.tensors.push_back({one.name, std::move(tensor)});
  }

  WorkFolder work(folder_path);
  try {
    for (const auto& [name, content] : folder.files) {
      make_folder((work.path() / name).parent_path());
      write_file(work.path() / name, content);
    }
    save_safetensors(work.path() / weights_name, folder.tensors, {{"format", "pt"}});
    folder.tensors.clear();
    stop_if_interrupted();
    check_loads(names.architecture, work.path(), input);
    stop_if_interrupted();
  } catch (const Error& e) {
    throw work.about_output(e);
  }
  work.put_in_place(places);

  print_names(file, names, report);
  if (clip)
    report << std::count_if(clip->parts.begin(), clip->parts.end(),
                            [](const ClipPart& part) { return part.how == ClipPart::transposed; })
           << " transposed, "
           << std::count_if(clip->parts.begin(), clip->parts.end(),
                            [](const ClipPart& part) { return part.how == ClipPart::query; })
           << " split into query, key and value\n";
  for (const std::string& note : notes) report << note << '\n';
  report << "wrote " << printable(folder_path.string()) << ":";
  for (const auto& [name, content] : folder.files) report << ' ' << printable(name);
  report << ' ' << weights_name << '\n';
}

void list(const fs::path& input, std::ostream& out) {
  const WeightsFile file = WeightsFile::open(input);
  struct Row {
    std::string name, type, shape, bytes;
  };
  std::vector<Row> rows{{"name", "dtype", "shape", "bytes"}};
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    std::ostringstream shape;
    shape << tensor.shape;
    rows.push_back({printable(tensor.name), lower(tensor.type), shape.str(), std::to_string(tensor.bytes)});
    total += tensor.bytes;
  }
  std::size_t name = 0, shape = 0, bytes = 0;
  for (const Row& row : rows) {
    name = std::max(name, row.name.size());
    shape = std::max(shape, row.shape.size());
    bytes = std::max(bytes, row.bytes.size());
  }
  for (const Row& row : rows)
    out << std::left << std::setw(static_cast<int>(name)) << row.name << "  " << std::setw(8) << row.type << "  "
        << std::setw(static_cast<int>(shape)) << row.shape << "  " << std::right << std::setw(static_cast<int>(bytes))
        << row.bytes << '\n';
  out << file.tensors().size() << " tensors, " << total << " bytes: " << file.format() << '\n';
}

}  // namespace clip
