#include "examples/support/clip_rows.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/data/feature_cache.hpp"
#include "clip/io/hash.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/embedding.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch = 32;

/// Rows of these files; of NaN for those that cannot be read.
Tensor rows_of(const Program& program, const ClipEncoder& encoder, std::span<const fs::path> files, bool skip_bad,
               Progress& progress) {
  Tensor rows = full({std::ssize(files), encoder.size()}, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t at = 0; at < files.size(); at += batch) {
    stop_if_interrupted();
    const auto part = files.subspan(at, std::min(files.size() - at, batch));
    std::vector<bool> good(part.size(), true);
    const auto skip = [&](std::size_t i, const std::string& why) {
      program.warn("skipped: " + why);
      good[i] = false;
    };
    const Tensor some = encoder.embed_images(skip_bad ? encoder.preprocess(part, skip) : encoder.preprocess(part));
    std::int64_t next = 0;
    for (std::size_t i = 0; i < part.size(); ++i)
      if (good[i])
        rows.view(static_cast<std::int64_t>(at + i) * encoder.size(), {encoder.size()})
            .copy_from(some.view(next++ * encoder.size(), {encoder.size()}));
    progress.advance(std::ssize(part));
  }
  return rows;
}

}  // namespace

void warn_of_cut(const Program& program, const ClipTokenizer& tokenizer, std::span<const std::string> texts) {
  const std::size_t cut = tokenizer.too_long(texts).size();
  if (cut > 0)
    program.warn("cut " + std::to_string(cut) + " of " + std::to_string(texts.size()) + " texts to " +
                 std::to_string(tokenizer.max_length()) + " tokens");
}

Tensor embed_texts(const Program& program, const ClipEncoder& encoder, std::span<const std::string> texts) {
  warn_of_cut(program, encoder.tokenizer, texts);
  std::vector<Tensor> parts;
  for (std::size_t at = 0; at < texts.size(); at += batch) {
    stop_if_interrupted();
    parts.push_back(encoder.embed_texts(texts.subspan(at, std::min(texts.size() - at, batch)), true));
  }
  return parts.empty() ? Tensor({0, encoder.size()}) : concat(parts);
}

PictureRows embed_pictures(const Program& program, const ClipEncoder& encoder, const std::vector<fs::path>& files,
                           bool skip_bad, const fs::path& cache, const fs::path& model) {
  const NoGrad guard;
  Tensor rows;
  if (cache.empty()) {
    Progress progress("pictures", std::ssize(files), program.quiet);
    rows = rows_of(program, encoder, files, skip_bad, progress);
  } else {
    std::ostringstream key;
    key << "clip " << hex(hash_folder(model)) << ' ' << program.type();
    const std::vector<std::uint64_t> hashes = hash_files(files, skip_bad);
    FeatureCache kept(cache, key.str(), [&](const std::string& what) { program.warn(what); });
    Progress progress("pictures to index", std::ssize(kept.missing(hashes)), program.quiet);
    rows = kept.rows(hashes, [&](std::span<const std::size_t> items) {
      std::vector<fs::path> some;
      for (const std::size_t i : items) some.push_back(files[i]);
      return rows_of(program, encoder, some, skip_bad, progress);
    });
  }
  PictureRows result;
  std::vector<std::int32_t> good;
  for (std::size_t i = 0; i < files.size(); ++i)
    if (!std::isnan(rows.data<float>()[i * static_cast<std::size_t>(encoder.size())])) {
      good.push_back(static_cast<std::int32_t>(i));
      result.files.push_back(files[i]);
    }
  check(!good.empty(), "images", "expected pictures that can be read, got none");
  if (good.size() < files.size())
    program.warn("skipped " + std::to_string(files.size() - good.size()) + " of " + std::to_string(files.size()) +
                 " pictures");
  result.rows = good.size() == files.size() ? rows : embedding(rows, Tensor::from(good, {std::ssize(good)}));
  return result;
}

}  // namespace clip
