#include "examples/support/picture_batches.hpp"

#include <algorithm>
#include <future>
#include <limits>
#include <string>

#include "clip/core/device.hpp"
#include "clip/core/error.hpp"
#include "clip/ops/cast.hpp"

namespace clip {
namespace fs = std::filesystem;

void for_picture_batches(const Program& program, const Preprocessor& preprocess, std::span<const fs::path> files,
                         std::size_t batch, bool skip_bad, Progress& progress,
                         const std::function<void(const PictureBatch&)>& use) {
  struct Read {
    Tensor pixels;
    std::vector<std::string> errors;  // of each file; empty where there is none
  };
  const auto part = [&](std::size_t at) { return files.subspan(at, std::min(batch, files.size() - at)); };
  const int threads = num_threads();
  const auto read = [&](std::size_t at) {
    set_num_threads(threads);  // each thread begins with OpenMP's own choice
    Read result;
    result.errors.resize(part(at).size());
    result.pixels = preprocess(part(at), [&](std::size_t i, const std::string& why) { result.errors[i] = why; });
    return result;
  };
  std::future<Read> next;
  const auto begin = [&](std::size_t at) {
    if (at < files.size()) next = std::async(std::launch::async, read, at);
  };
  begin(0);
  for (std::size_t at = 0; at < files.size(); at += batch) {
    stop_if_interrupted();
    const Read now = next.get();
    begin(at + batch);
    PictureBatch some{{}, now.pixels};
    for (std::size_t i = 0; i < now.errors.size(); ++i) {
      if (now.errors[i].empty()) {
        some.items.push_back(at + i);
        continue;
      }
      if (!skip_bad) throw Error(now.errors[i]);
      program.warn("skipped: " + now.errors[i]);
    }
    if (!some.items.empty()) use(some);
    progress.advance(std::ssize(now.errors));
  }
}

Tensor picture_rows(const Program& program, const Preprocessor& preprocess, std::span<const fs::path> files,
                    std::int64_t size, bool skip_bad, Progress& progress,
                    const std::function<Tensor(const Tensor& pixels)>& encode) {
  constexpr std::size_t batch = 32;
  Tensor rows = full({std::ssize(files), size}, std::numeric_limits<double>::quiet_NaN());
  for_picture_batches(program, preprocess, files, batch, skip_bad, progress, [&](const PictureBatch& some) {
    const Tensor encoded = to(encode(some.pixels), Device::cpu());
    for (std::size_t i = 0; i < some.items.size(); ++i)
      rows.view(static_cast<std::int64_t>(some.items[i]) * size, {size})
          .copy_from(encoded.view(static_cast<std::int64_t>(i) * size, {size}));
  });
  return rows;
}

}  // namespace clip
