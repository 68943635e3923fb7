#include "clip/nn/module.hpp"

#include <map>
#include <sstream>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"

namespace clip {

Tensor Init::uniform(const Shape& shape, float bound) const {
  return random_ == nullptr ? Tensor(shape) : scale(rand(shape, *random_), 2 * bound, -bound);
}
Tensor Init::normal(const Shape& shape, float deviation) const {
  return random_ == nullptr ? Tensor(shape) : scale(randn(shape, *random_), deviation);
}
Tensor Init::constant(const Shape& shape, float value) const {
  return random_ == nullptr ? Tensor(shape) : full(shape, value);
}

namespace {

/// A list of problems of one kind, shortened where it is long.
class Problems {
 public:
  explicit Problems(std::string kind) : kind_(std::move(kind)) {}
  template <class... Parts>
  void add(const Parts&... parts) {
    if (++count_ > shown) return;
    list_ << "\n  " << kind_ << ": ";
    (list_ << ... << parts);
  }
  std::string text() const {
    return count_ <= shown ? list_.str()
                           : list_.str() + "\n  … and " + std::to_string(count_ - shown) + " more " + kind_;
  }
  bool none() const { return count_ == 0; }

 private:
  static constexpr int shown = 40;
  std::string kind_;
  std::ostringstream list_;
  int count_ = 0;
};

/// `sources`: the name in the file for each of ours.
void load(const std::vector<Member>& members, const SafeTensors& file, std::map<std::string, std::string> sources,
          const Device& device, dtype type) {
  const NoGrad guard;
  Problems missing("missing"), unexpected("unexpected"), misshaped("of another shape");
  std::vector<std::string> source;  // beside members
  for (const Member& member : members) {
    const auto found = sources.find(member.name);
    if (found == sources.end()) {
      missing.add(member.name, ' ', member.tensor->shape());
      continue;
    }
    const Shape& shape = file.info(found->second).shape;
    if (shape != member.tensor->shape())
      misshaped.add(printable(found->second), " is ", shape, ", expected ", member.tensor->shape());
    source.push_back(found->second);
    sources.erase(found);
  }
  for (const auto& [name, left] : sources) unexpected.add(printable(left), ' ', file.info(left).shape);
  check(missing.none() && unexpected.none() && misshaped.none(), "load", "expected other tensors in ",
        quoted(file.path()), ':', missing.text(), unexpected.text(), misshaped.text());

  std::vector<Tensor> loaded;  // all of them before any is replaced
  for (std::size_t i = 0; i < members.size(); ++i)
    loaded.push_back(to(to(file.read(source[i]), members[i].trainable ? type : members[i].tensor->dtype()), device));
  for (std::size_t i = 0; i < members.size(); ++i) *members[i].tensor = std::move(loaded[i]);
}

}  // namespace

void load(const std::vector<Member>& members, const SafeTensors& file, const Device& device, dtype type) {
  std::map<std::string, std::string> sources;
  for (const TensorInfo& info : file.tensors()) sources.emplace(info.name, info.name);
  load(members, file, std::move(sources), device, type);
}

void load(const std::vector<Member>& members, const SafeTensors& file, const WeightNames& names, const Device& device,
          dtype type) {
  std::map<std::string, std::string> sources;
  for (const WeightNames::Mapped& mapped : names.mapped) sources.emplace(mapped.name, mapped.source);
  load(members, file, std::move(sources), device, type);
}

void save(const std::vector<Member>& members, const std::filesystem::path& path) {
  std::vector<NamedTensor> tensors;
  tensors.reserve(members.size());
  for (const Member& member : members) tensors.push_back({member.name, member.tensor->detach()});
  save_safetensors(path, tensors);
}

}  // namespace clip
