#include "clip/train/checkpoint.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

std::vector<NamedTensor> some_tensors(std::int64_t step, std::int64_t size = 3) {
  Tensor weight({2, size});
  weight.fill(static_cast<double>(step));
  return {{"model.weight", weight},
          {"optimizer.first", full({size}, static_cast<double>(step) + 0.5, dtype::bf16)},
          {"scalar", Tensor::of(4)},
          {"ids", Tensor::of({1, 2, 3}, dtype::i64)}};
}
std::string some_state(std::int64_t step) {
  return "{\"epoch\": " + std::to_string(step / 10) + ", \"seed\": 18446744073709551615}";
}
void save(const Checkpoints& checkpoints, std::int64_t step) {
  checkpoints.save(step, some_tensors(step), some_state(step));
}
/// Whether a checkpoint is what `save` saved.
bool right(const Checkpoint& checkpoint, std::int64_t size = 3) {
  const auto expected = some_tensors(checkpoint.step, size);
  bool same = checkpoint.state == some_state(checkpoint.step) && checkpoint.tensors.size() == expected.size();
  for (const NamedTensor& named : expected) {
    const Tensor& tensor = checkpoint.tensors.at(named.name);
    same = same && tensor.dtype() == named.tensor.dtype() && tensor.shape() == named.tensor.shape() &&
           std::equal(static_cast<const char*>(tensor.raw()), static_cast<const char*>(tensor.raw()) + tensor.bytes(),
                      static_cast<const char*>(named.tensor.raw()));
  }
  return same;
}
std::vector<std::string> names(const fs::path& folder) {
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator(folder)) all.push_back(entry.path().filename().string());
  std::sort(all.begin(), all.end());
  return all;
}
void flip(const fs::path& file, std::size_t at, int bit = 0) {
  std::string bytes = read_file(file);
  bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1 << bit);
  write_file(file, bytes);
}

TEST_CASE("the latest checkpoint comes back, and the last few are kept", "[checkpoint]") {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder / "run/checkpoints", 2);
  CHECK(!checkpoints.load());
  CHECK(!fs::exists(folder / "run"));
  for (const std::int64_t step : {0, 9, 10, 100}) {
    save(checkpoints, step);
    const auto loaded = checkpoints.load();
    REQUIRE(loaded);
    CHECK(loaded->step == step);
    CHECK(right(*loaded));
  }
  CHECK(names(folder / "run/checkpoints") ==
        std::vector<std::string>{"step-000000000010.safetensors", "step-000000000100.safetensors"});
  save(checkpoints, 100);
  CHECK(names(folder / "run/checkpoints").size() == 2);
}

TEST_CASE("other files do not count, half-written ones go", "[checkpoint]") {
  const TemporaryFolder folder;
  for (const char* name : {"step-1.safetensors", "step-00000000000x.safetensors", "notes.txt"}) folder.write(name, "x");
  folder.write(".step-000000000007.safetensors.tmp-1-0", "half");
  const Checkpoints checkpoints(folder.path());
  CHECK(!checkpoints.load());
  save(checkpoints, 3);
  CHECK(names(folder.path()) == std::vector<std::string>{"notes.txt", "step-000000000003.safetensors",
                                                         "step-00000000000x.safetensors", "step-1.safetensors"});
}

TEST_CASE("a damaged checkpoint is passed over, with a message", "[checkpoint]") {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder.path(), 3);
  for (const std::int64_t step : {1, 2, 3}) save(checkpoints, step);
  flip(folder / "step-000000000003.safetensors", fs::file_size(folder / "step-000000000003.safetensors") - 1);
  fs::resize_file(folder / "step-000000000002.safetensors", 100);
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& warning) { warnings.push_back(warning); };
  const auto loaded = checkpoints.load(warn);
  REQUIRE(loaded);
  CHECK(loaded->step == 1);
  CHECK(right(*loaded));
  REQUIRE(warnings.size() == 2);
  CHECK(
      warnings[0].find("step-000000000003.safetensors' is damaged: the checksum of tensor 'optimizer.first' is wrong; "
                       "going back") != std::string::npos);
  CHECK(warnings[1].find("step-000000000002.safetensors") != std::string::npos);

  save(checkpoints, 2);  // the run goes on from step 1: what lay ahead is not kept
  CHECK(names(folder.path()) ==
        std::vector<std::string>{"step-000000000001.safetensors", "step-000000000002.safetensors"});
  flip(folder / "step-000000000001.safetensors", 0);
  flip(folder / "step-000000000002.safetensors", 0);
  CHECK(throws_with([&] { checkpoints.load(); }, "none of the 2 checkpoints"));
}

TEST_CASE("one flipped bit is noticed, wherever it is", "[checkpoint]") {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder.path(), 1);
  save(checkpoints, 5);
  const fs::path file = folder / "step-000000000005.safetensors";
  const std::string good = read_file(file);
  int unnoticed = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1 << at % 8);
    folder.write("step-000000000005.safetensors", bad);
    bool same = true;
    try {
      same = right(load_checkpoint(file));
      ++unnoticed;
    } catch (const Error&) {
    }
    REQUIRE(same);  // where nothing was noticed, the bit said nothing
  }
  CHECK(unnoticed < 10);
  for (const auto& [from, to] : {std::pair("[2,3]", "[3,2]"), std::pair("\"F32\"", "\"I32\"")}) {  // of the same size
    std::string bad = good;
    bad.replace(bad.find(from), std::string(from).size(), to);
    folder.write("step-000000000005.safetensors", bad);
    CHECK(throws_with([&] { load_checkpoint(file); }, "the checksum of tensor"));
  }
  for (std::size_t size = 0; size < good.size(); size += 7) {
    folder.write("step-000000000005.safetensors", good.substr(0, size));
    CHECK_THROWS_AS(load_checkpoint(file), Error);
  }
}

TEST_CASE("what cannot be saved leaves the last checkpoint as it was", "[checkpoint]") {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder.path(), 1);
  save(checkpoints, 1);
  const pid_t child = ::fork();
  if (child == 0) {  // a full disk: files may not grow beyond a few bytes
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{200, 200};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      save(checkpoints, 2);
    } catch (const Error& e) {
      ::_exit(std::string(e.what()).find("step-000000000002.safetensors") != std::string::npos ? 7 : 8);
    }
    ::_exit(9);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(names(folder.path()) == std::vector<std::string>{"step-000000000001.safetensors"});
  CHECK(right(checkpoints.load().value()));

  const std::vector<NamedTensor> twice{{"a", Tensor::of(1)}, {"a", Tensor::of(2)}}, undefined{{"a", Tensor()}};
  CHECK(throws_with([&] { checkpoints.save(2, twice, ""); }, "'a' is there twice"));
  CHECK(throws_with([&] { checkpoints.save(2, undefined, ""); }, "'a' is undefined"));
  CHECK(throws_with([&] { checkpoints.save(-1, {}, ""); }, "got -1"));
  CHECK(throws_with([&] { checkpoints.save(2, {}, "\xff"); }, "cannot write"));
  CHECK(throws_with([&] { Checkpoints(folder.path(), 0); }, "keep one checkpoint"));
  CHECK(throws_with([&] { Checkpoints(folder / "step-000000000001.safetensors").save(1, {}, ""); }, "cannot make"));
  CHECK(names(folder.path()).size() == 1);
}

TEST_CASE("kill -9 at any moment loses no saved checkpoint", "[checkpoint]") {
  const TemporaryFolder folder;
  constexpr std::int64_t size = 20000;
  std::int64_t step = 0;
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  for (int round = 0; round < 30; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      const Checkpoints checkpoints(folder.path(), 2);
      for (std::int64_t next = step + 1;; ++next) {
        checkpoints.save(next, some_tensors(next, size), some_state(next));
        if (::write(pipe[1], &next, sizeof next) != sizeof next) ::_exit(1);
      }
    }
    if (round % 3 != 0) REQUIRE(::read(pipe[0], &step, sizeof step) == sizeof step);
    std::this_thread::sleep_for(std::chrono::microseconds(911 * (round % 11)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    // take what else was acknowledged
    std::int64_t end = -1;
    REQUIRE(::write(pipe[1], &end, sizeof end) == sizeof end);
    for (std::int64_t said; ::read(pipe[0], &said, sizeof said) == sizeof said && said >= 0;) step = said;

    const auto loaded = Checkpoints(folder.path()).load([](const std::string& why) { FAIL(why); });
    if (step == 0 && !loaded) continue;
    REQUIRE(loaded);
    REQUIRE(loaded->step >= step);
    REQUIRE(loaded->step <= step + 1);
    REQUIRE(right(*loaded, size));
    step = loaded->step;
  }
  CHECK(step > 10);
  ::close(pipe[0]);
  ::close(pipe[1]);
  save(Checkpoints(folder.path(), 2), step + 1);
  CHECK(names(folder.path()).size() == 2);
}

}  // namespace
}  // namespace clip
