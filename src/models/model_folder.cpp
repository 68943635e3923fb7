#include "src/models/model_folder.hpp"

#include <system_error>
#include <utility>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"

namespace clip {

namespace fs = std::filesystem;

void link_folder(const fs::path& from, const fs::path& to) {
  check(is_folder(from), "model", "expected a model folder, but ", quoted(from), " is none");
  const fs::path target = to.has_filename() ? to : to.parent_path();  // "x/" is x
  fs::path part = target;
  part += ".part";
  std::error_code error;
  fs::remove_all(part, error);
  check(!error, "model", "cannot replace the folder ", quoted(part), ": ", error.message());
  try {
    make_folder(part);
    std::vector<fs::path> files = files_below(from);
    for (const fs::path& path : list_folder(from))  // files_below follows no links, but an encoder may be one
      if (fs::is_symlink(path, error) && is_there(path / "config.json"))
        for (fs::path& file : files_below(path)) files.push_back(std::move(file));
    for (const fs::path& file : files) {
      const fs::path copy = part / file.lexically_relative(from), source = fs::canonical(file, error);
      make_folder(copy.parent_path());
      if (!error) fs::create_hard_link(source, copy, error);
      if (error) write_file(copy, read_file(file, std::uint64_t{1} << 40));
    }
  } catch (...) {
    fs::remove_all(part, error);
    throw;
  }
  fs::remove_all(target, error);
  if (!error) fs::rename(part, target, error);
  check(!error, "model", "cannot replace the folder ", quoted(target), ": ", error.message());
}

void replace_weights(const std::vector<Member>& weights, const fs::path& folder) {
  save(weights, folder / "model.safetensors");
  std::error_code error;
  for (const fs::path& file : list_folder(folder))
    if (is_weights_file(file) && file.filename() != "model.safetensors") {
      fs::remove(file, error);
      check(!error, "model", "cannot remove ", quoted(file), ": ", error.message());
    }
}

}  // namespace clip
