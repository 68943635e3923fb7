#include "examples/support/pictures.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <future>
#include <limits>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

bool looks_like_picture(const fs::path& path) {
  static constexpr std::array<std::string_view, 9> suffixes = {".jpg", ".jpeg", ".png", ".bmp", ".gif",
                                                               ".pnm", ".ppm",  ".pgm", ".webp"};
  std::string suffix = path.extension().string();
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return !path.filename().string().starts_with('.') &&
         std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

}  // namespace

std::vector<fs::path> list_pictures(const fs::path& path) {
  std::vector<fs::path> files;
  if (is_folder(path)) {
    for (const fs::path& file : list_folder(path))
      if (looks_like_picture(file)) files.push_back(file);
    check(!files.empty(), "images", "expected pictures (.jpg .jpeg .png .bmp .gif …) in the folder ", quoted(path),
          ", got none");
  } else {
    for (const std::string& line : read_lines(path))
      if (!line.empty()) files.push_back(path.parent_path() / line);
    check(!files.empty(), "images", "expected paths of pictures, one a line, in ", quoted(path), ", got none");
  }
  for (const fs::path& file : files)
    check(file.string().find('\n') == std::string::npos, "images", "expected names without line breaks, got ",
          quoted(file));
  return files;
}

void for_picture_batches(const Program& program, const Preprocessor& preprocess, std::span<const fs::path> files,
                         std::size_t batch, bool skip_bad, Progress& progress,
                         const std::function<void(const PictureBatch&)>& use) {
  struct Read {
    Tensor pixels;
    std::vector<std::string> errors;  // of each file; empty where there is none
  };
  const auto part = [&](std::size_t at) { return files.subspan(at, std::min(batch, files.size() - at)); };
  const auto read = [&](std::size_t at) {
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
    const Tensor encoded = encode(some.pixels);
    for (std::size_t i = 0; i < some.items.size(); ++i)
      rows.view(static_cast<std::int64_t>(some.items[i]) * size, {size})
          .copy_from(encoded.view(static_cast<std::int64_t>(i) * size, {size}));
  });
  return rows;
}

}  // namespace clip
