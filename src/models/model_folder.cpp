#include "src/models/model_folder.hpp"

#include <system_error>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"

namespace clip {

namespace fs = std::filesystem;

void link_folder(const fs::path& from, const fs::path& to) {
  check(is_folder(from), "model", "expected a model folder, but ", quoted(from), " is none");
  fs::path part = to;
  part += ".part";
  std::error_code error;
  fs::remove_all(part, error);
  check(!error, "model", "cannot replace the folder ", quoted(part), ": ", error.message());
  make_folder(part);
  for (const fs::path& file : files_below(from)) {
    const fs::path target = part / file.lexically_relative(from), source = fs::canonical(file, error);
    make_folder(target.parent_path());
    if (!error) fs::create_hard_link(source, target, error);
    if (error) write_file(target, read_file(file, std::uint64_t{1} << 40));
  }
  fs::remove_all(to, error);
  if (!error) fs::rename(part, to, error);
  check(!error, "model", "cannot replace the folder ", quoted(to), ": ", error.message());
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
