#include "examples/support/clip_rows.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/data/feature_cache.hpp"
#include "clip/io/hash.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "examples/support/picture_batches.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch = 32;

}  // namespace

void warn_of_cut(const Program& program, const ClipTokenizer& tokenizer, std::span<const std::string> texts) {
  const std::size_t cut = tokenizer.too_long(texts).size();
  if (cut > 0)
    program.warn("cut " + std::to_string(cut) + " of " + std::to_string(texts.size()) + " texts to " +
                 std::to_string(tokenizer.max_length()) + " tokens");
}

Tensor embed_texts(const Program& program, PairEncoder& encoder, std::span<const std::string> texts) {
  warn_of_cut(program, encoder.clip->tokenizer, texts);
  std::vector<Tensor> parts;
  for (std::size_t at = 0; at < texts.size(); at += batch) {
    stop_if_interrupted();
    const auto part = texts.subspan(at, std::min(texts.size() - at, batch));
    parts.push_back(to(l2_normalize(encoder.embed_texts(part)), Device::cpu()));
  }
  return parts.empty() ? Tensor({0, encoder.text_size()}) : concat(parts);
}

PictureRows embed_pictures(const Program& program, PairEncoder& encoder, const std::vector<fs::path>& files,
                           bool skip_bad, const fs::path& cache, const fs::path& model) {
  const NoGrad guard;
  const auto rows_of = [&](std::span<const fs::path> some, Progress& progress) {
    return picture_rows(program, encoder.preprocess(), some, encoder.image_size(), skip_bad, progress,
                        [&](const Tensor& pixels) { return l2_normalize(encoder.embed_images(pixels)); });
  };
  Tensor rows;
  if (cache.empty()) {
    Progress progress("pictures", std::ssize(files), program.quiet);
    rows = rows_of(files, progress);
  } else {
    std::ostringstream key;
    key << "clip " << hex(hash_folder(model)) << ' ' << program.type();
    const std::vector<std::uint64_t> hashes = hash_files(files, skip_bad);
    FeatureCache kept(cache, key.str(), [&](const std::string& what) { program.warn(what); });
    Progress progress("pictures to index", std::ssize(kept.missing(hashes)), program.quiet);
    rows = kept.rows(hashes, [&](std::span<const std::size_t> items) {
      std::vector<fs::path> some;
      for (const std::size_t i : items) some.push_back(files[i]);
      return rows_of(some, progress);
    });
  }
  PictureRows result;
  std::vector<std::int32_t> good;
  for (std::size_t i = 0; i < files.size(); ++i)
    if (!std::isnan(rows.data<float>()[i * static_cast<std::size_t>(encoder.image_size())])) {
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
