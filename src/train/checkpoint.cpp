#include "clip/train/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <system_error>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step-", suffix = ".safetensors";
constexpr std::size_t digits = 12;

/// Of a tensor's name, type, shape and bytes, for its header may be damaged too.
std::string checksum(const std::string& name, const Tensor& tensor) {
  std::ostringstream about;
  about << name << '\n' << tensor.dtype() << tensor.shape();
  return hex(content_hash({static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}, content_hash(about.str())));
}

/// One line for each tensor, in the order of names: its checksum and its name.
std::string checksums(const std::map<std::string, Tensor>& tensors) {
  std::string lines;
  for (const auto& [name, tensor] : tensors) lines.append(checksum(name, tensor)).append(" ").append(name).append("\n");
  return lines;
}

std::string seal(const std::string& step, const std::string& state, const std::string& sums) {
  return hex(content_hash(state, content_hash(sums, content_hash(step))));
}

/// The step in a checkpoint's name; -1 for other files.
std::int64_t step_of(const fs::path& file) {
  const std::string name = file.filename().string();
  std::int64_t step = -1;
  if (name.size() != prefix.size() + digits + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix))
    return -1;
  const char* const begin = name.data() + prefix.size();
  const auto [end, error] = std::from_chars(begin, begin + digits, step);
  return error == std::errc() && end == begin + digits ? step : -1;
}

}  // namespace

Checkpoints::Checkpoints(const fs::path& folder, int keep) : folder_(folder), keep_(static_cast<std::size_t>(keep)) {
  check(keep > 0, "checkpoint", "expected to keep one checkpoint at least, got ", keep);
}

std::vector<fs::path> Checkpoints::files() const {
  std::vector<fs::path> files;
  if (!is_there(folder_)) return files;  // nothing was saved
  for (const fs::path& path : list_folder(folder_))
    if (step_of(path) >= 0) files.push_back(path);
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  return files;
}

void Checkpoints::save(std::int64_t step, std::span<const NamedTensor> tensors, const std::string& state) const {
  std::string number = std::to_string(step);
  check(step >= 0 && number.size() <= digits, "checkpoint", "expected a step of at most ", digits, " digits, got ",
        step);
  number.insert(0, digits - number.size(), '0');
  make_folder(folder_);

  std::map<std::string, Tensor> all;
  for (const NamedTensor& tensor : tensors) {
    check(tensor.tensor.defined(), "checkpoint", "tensor '", tensor.name, "' is undefined");
    check(all.emplace(tensor.name, to(tensor.tensor.detach(), Device{})).second, "checkpoint", "tensor '", tensor.name,
          "' is there twice");
  }
  const std::string sums = checksums(all);
  std::vector<NamedTensor> named;
  named.reserve(all.size());
  for (const auto& [name, tensor] : all) named.push_back({name, tensor});
  const fs::path file = folder_ / std::string(prefix).append(number).append(suffix);
  save_safetensors(file, named,
                   {{"step", number}, {"state", state}, {"checksums", sums}, {"seal", seal(number, state, sums)}});

  std::vector<fs::path> old;
  std::size_t kept = 0;
  for (const fs::path& other : files())
    if (step_of(other) > step || ++kept > keep_) old.push_back(other);
  for (const fs::path& path : list_folder(folder_))
    if (path.filename().string().find(".tmp-") != std::string::npos) old.push_back(path);
  std::error_code harmless;
  for (const fs::path& path : old) fs::remove(path, harmless);
}

Checkpoint load_checkpoint(const fs::path& path) {
  const SafeTensors file = SafeTensors::open(path);
  const auto said = [&](const char* key) {
    const auto entry = file.metadata().find(key);
    check(entry != file.metadata().end(), "checkpoint", quoted(path), " is damaged, or no checkpoint: it has no '", key,
          "'");
    return entry->second;
  };
  Checkpoint checkpoint;
  checkpoint.state = said("state");
  for (const TensorInfo& tensor : file.tensors()) checkpoint.tensors.emplace(tensor.name, file.read(tensor.name));
  const std::string sums = said("checksums"), step = said("step");
  check(seal(step, checkpoint.state, sums) == said("seal"), "checkpoint", quoted(path),
        " is damaged: the checksum of its state is wrong");
  std::string_view rest = sums;  // in the order of names, as the tensors are
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const std::string line = checksum(name, tensor) + " " + name + "\n";
    check(rest.starts_with(line), "checkpoint", quoted(path), " is damaged: the checksum of tensor '", printable(name),
          "' is wrong");
    rest.remove_prefix(line.size());
  }
  check(rest.empty(), "checkpoint", quoted(path), " is damaged: it lacks tensors");
  check(std::from_chars(step.data(), step.data() + step.size(), checkpoint.step).ec == std::errc(), "checkpoint",
        quoted(path), " is damaged: its step is no number");
  return checkpoint;
}

std::optional<Checkpoint> Checkpoints::load(const std::function<void(const std::string&)>& warn) const {
  const std::vector<fs::path> all = files();
  std::string why;
  for (const fs::path& file : all) try {
      return load_checkpoint(file);
    } catch (const Error& e) {
      why = e.what();
      if (warn && file != all.back()) warn(why + "; going back to the checkpoint before it");
    }
  check(all.empty(), "checkpoint", "none of the ", all.size(), " checkpoints in ", quoted(folder_),
        " can be read; the oldest: ", why, "; remove the folder to start afresh");
  return std::nullopt;
}

}  // namespace clip
