// Texts or pictures to embeddings: one row of a .npy file for each.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "clip/io/npy.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/permute.hpp"
#include "examples/support/clip_rows.hpp"
#include "examples/support/pair_encoder.hpp"
#include "examples/support/picture_batches.hpp"
#include "examples/support/pictures.hpp"
#include "examples/support/program.hpp"
#include "src/io/folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

struct Options {
  fs::path model, text, images, output, tokens, pixels;
  bool normalize = false, skip_bad = false;
  std::string pooling = "default";
  std::int64_t batch = 32;
};

/// Items [at, at + batch) of a list, in turn.
template <class Item, class Work>
void for_batches(const std::vector<Item>& items, std::int64_t batch, const Work& work) {
  for (std::size_t at = 0; at < items.size(); at += static_cast<std::size_t>(batch)) {
    stop_if_interrupted();
    work(std::span(items).subspan(at, std::min(items.size() - at, static_cast<std::size_t>(batch))));
  }
}

Tensor rows_or_empty(const std::vector<Tensor>& parts, const Shape& empty) {
  return parts.empty() ? Tensor(empty) : concat(parts);
}

/// The files of a run, opened before any work, and put in place together at its end.
class Outputs {
 public:
  /// `read`: files that none of the outputs may replace, beside those of the model.
  Outputs(const fs::path& model, const std::vector<fs::path>& read) {
    if (is_folder(model))
      for (const fs::path& file : files_below(model)) taken_.insert(real(file));
    for (const fs::path& file : read) taken_.insert(real(file));
  }

  /// Null for an empty path. Throws when the file would replace one that is read or another output.
  NewFile* open(const fs::path& path) {
    if (path.empty()) return nullptr;
    if (!taken_.insert(real(path)).second)
      throw WrongUsage("expected another file to write than " + quoted(path) + ", which is read or written already");
    return files_.emplace_back(std::make_unique<NewFile>(path)).get();
  }
  void commit() {
    for (const auto& file : files_) file->commit();
  }

 private:
  static fs::path real(const fs::path& path) {
    std::error_code error;
    return fs::weakly_canonical(path, error);
  }
  std::set<fs::path> taken_;
  std::vector<std::unique_ptr<NewFile>> files_;
};

fs::path paths_beside(const fs::path& output) {
  return output.empty() ? output : fs::path(output.string() + ".paths.txt");
}

PairEncoder load_texts(const Program& program, const Options& options) {
  PairEncoder encoder;
  if (ClipEncoder::is_in(options.model)) {
    if (options.pooling != "default") throw WrongUsage("--pooling is not for CLIP, whose texts end at their end token");
    encoder.clip = ClipEncoder::load(options.model, program.device(), program.type());
  } else {
    encoder.text = TextEncoder::load(options.model, program.device(), program.type());
    if (options.pooling != "default") encoder.text->pooling = options.pooling == "cls" ? Pooling::cls : Pooling::mean;
  }
  return encoder;
}

void embed_texts(const Program& program, const Options& options) {
  Outputs outputs(options.model, {options.text});
  NewFile* const tokens = outputs.open(options.tokens);
  NewFile* const output = outputs.open(options.output);
  const std::vector<std::string> lines = read_lines(options.text);
  const bool clip = ClipEncoder::is_in(options.model);
  if (clip) warn_of_cut(program, ClipTokenizer::load(options.model), lines);
  if (tokens != nullptr) {
    const auto write = [&](const auto& tokenizer, const Tokens& ids) {
      write_npy(*tokens, ids.padded(tokenizer.pad_id()));
    };
    if (clip) {
      const ClipTokenizer tokenizer = ClipTokenizer::load(options.model);
      write(tokenizer, tokenizer.encode(lines, {.truncate = true}));
    } else {
      const WordPiece tokenizer = WordPiece::load(options.model);
      write(tokenizer, tokenizer.encode(lines));
    }
  }
  if (output != nullptr) {
    PairEncoder encoder = load_texts(program, options);
    program.announce(options.model.string() + ", " + std::to_string(lines.size()) + " texts");
    Progress progress("texts", std::ssize(lines), program.quiet);
    std::vector<Tensor> parts;
    for_batches(lines, options.batch, [&](std::span<const std::string> texts) {
      parts.push_back(encoder.embed_texts(texts));
      progress.advance(std::ssize(texts));
    });
    const Tensor rows = rows_or_empty(parts, {0, encoder.text_size()});
    write_npy(*output, options.normalize ? l2_normalize(rows) : rows);
  }
  outputs.commit();
}

PairEncoder load_images(const Program& program, const fs::path& folder) {
  if (ClipEncoder::is_in(folder)) return {.clip = ClipEncoder::load(folder, program.device(), program.type())};
  return {.image = ImageEncoder::load(folder, program.device(), program.type())};
}

void embed_images(const Program& program, const Options& options) {
  const std::vector<fs::path> files = list_pictures(options.images);
  std::vector<fs::path> read = files;
  read.push_back(options.images);
  Outputs outputs(options.model, read);
  NewFile* const pixel_file = outputs.open(options.pixels);
  NewFile* const output = outputs.open(options.output);
  NewFile* const pixel_paths = outputs.open(paths_beside(options.pixels));
  NewFile* const output_paths = outputs.open(paths_beside(options.output));
  std::optional<PairEncoder> encoder;
  if (output != nullptr) encoder = load_images(program, options.model);  // first: it tells what kind of model this is
  const Preprocessor preprocess = Preprocessor::load(options.model);
  program.announce(options.model.string() + ", " + std::to_string(files.size()) + " pictures");
  Progress progress("pictures", std::ssize(files), program.quiet);
  std::vector<Tensor> rows, pixels;
  std::string names;
  std::int64_t good = 0;
  for_picture_batches(program, preprocess, files, static_cast<std::size_t>(options.batch), options.skip_bad, progress,
                      [&](const PictureBatch& some) {
                        for (const std::size_t i : some.items) names += files[i].string() + '\n';
                        good += std::ssize(some.items);
                        if (pixel_file != nullptr) pixels.push_back(permute(some.pixels, {0, 3, 1, 2}));
                        if (encoder) rows.push_back(encoder->embed_images(some.pixels));
                      });
  const std::int64_t bad = std::ssize(files) - good;
  if (bad > 0) program.warn("skipped " + std::to_string(bad) + " of " + std::to_string(files.size()) + " pictures");
  check(good > 0, "embed", "expected pictures that can be read in ", quoted(options.images), ", got none");
  const Size size = preprocess.size();
  if (pixel_file != nullptr) {
    write_npy(*pixel_file, rows_or_empty(pixels, {0, 3, size.height, size.width}));
    pixel_paths->write(names);
  }
  if (output != nullptr) {
    const Tensor values = concat(rows);
    write_npy(*output, options.normalize ? l2_normalize(values) : values);
    output_paths->write(names);
  }
  outputs.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Program program("embed", "Embeds texts or pictures with a model folder: one row of a .npy file for each.",
                  "embed --model models/all-MiniLM-L6-v2 --text captions.txt --output captions.npy");
  Options options;
  program.option("--model", &options.model, "model folder in the Hugging Face layout").required();
  Option text = program.option("--text", &options.text, "text file, one text a line");
  Option images = program.option("--images", &options.images, "folder of pictures, or a text file of paths");
  program.option("--output", &options.output, "embeddings, <f4 [N, D]");
  Option tokens = program.option("--tokens", &options.tokens, "token ids, <i4 [N, longest]");
  Option pixels = program.option("--pixels", &options.pixels, "preprocessed pictures, <f4 [N, 3, H, W]");
  program.option("--normalize", &options.normalize, "rows of length 1");
  program.option("--pooling", &options.pooling, "cls, mean, or default: as the folder says")
      .one_of({"cls", "mean", "default"});
  program.option("--batch", &options.batch, "texts or pictures at a time (default 32)").between(1, 65536);
  program.option("--skip-bad", &options.skip_bad, "report unreadable pictures, and go on");
  program.add_compute_options();
  text.excludes(images);
  tokens.excludes(images);
  pixels.excludes(text);
  return program.run(argc, argv, [&] {
    catch_interrupts();
    const NoGrad guard;
    if (options.text.empty() == options.images.empty()) throw WrongUsage("give --text or --images");
    if (options.output.empty() && options.tokens.empty() && options.pixels.empty())
      throw WrongUsage("give --output, --tokens or --pixels");
    options.text.empty() ? embed_images(program, options) : embed_texts(program, options);
  });
}
