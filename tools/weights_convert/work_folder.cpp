#include "tools/weights_convert/work_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "clip/io/file.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr const char* where = "weights_convert";

void discard(const fs::path& path) {
  std::error_code harmless;
  fs::remove_all(path, harmless);
}

void move(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check(!error, where, "cannot write ", quoted(to), ": ", error.message());
}

}  // namespace

WorkFolder::WorkFolder(const fs::path& output) : output_(output) {
  const fs::path parent = output.has_parent_path() ? output.parent_path() : fs::path(".");
  for (fs::path above = parent; !above.empty() && !is_there(above); above = above.parent_path())
    made_.paths.push_back(above);
  make_folder(parent);
  const fs::path path = parent / ('.' + output.filename().string() + ".tmp");
  ::mkdir(path.c_str(), 0777);
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  check(descriptor >= 0, where, "cannot write a folder beside ", quoted(output), ": ", std::strerror(errno));
  lock_.reset(static_cast<void*>(nullptr), [descriptor](void*) { ::close(descriptor); });
  const bool locked = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  check(locked, where, "another run is writing ", quoted(output));
  path_ = path;
  for (const fs::path& left : list_folder(path)) discard(left);
}

WorkFolder::~WorkFolder() {
  if (!path_.empty()) discard(path_);
}

WorkFolder::Made::~Made() {
  std::error_code not_empty;
  for (const fs::path& path : paths) fs::remove(path, not_empty);
}

void WorkFolder::check_places(const fs::path& output, const std::vector<std::string>& files) {
  for (const std::string& name : files) {
    const fs::path place = output / name, folder = place.parent_path();
    check(!is_folder(place), where, "cannot write ", quoted(place), ": it is a folder");
    check(!is_there(folder) || is_folder(folder), where, "cannot write ", quoted(place), ": ", quoted(folder),
          " is no folder");
  }
}

void WorkFolder::put_in_place(const std::vector<std::string>& files) {
  if (!is_there(output_)) {
    move(path_, output_);
    path_.clear();
    return;
  }
  for (const std::string& name : files) {
    make_folder((output_ / name).parent_path());
    move(path_ / name, output_ / name);
  }
}

Error WorkFolder::about_output(const Error& error) const {
  const std::string here = printable(path_.string()), there = printable(output_.string());
  std::string message = error.what();
  for (std::size_t at = 0; (at = message.find(here, at)) != std::string::npos; at += there.size())
    message.replace(at, here.size(), there);
  return Error(message);
}

}  // namespace clip
