#include "tests/host_cuda/executor.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <sstream>
#include <vector>

#include "tests/host_cuda/fiber.hpp"

namespace clip::host_cuda {
namespace {

enum class State { ready, at_barrier, in_warp_operation, finished };

using Copies = std::vector<std::pair<void*, const void*>>;  // from null are zeros

struct Thread {
  Fiber fiber;
  dim3 index;
  State state = State::ready;
  unsigned rank = 0;  ///< of those that are ready the lowest goes first
  // what it waits for
  Site site{};
  unsigned mask = 0;
  void* data = nullptr;
  std::deque<Copies> copies;  ///< in groups, of which the last is not committed
  std::size_t missing = 0;    ///< of a warp's first thread: the lane that a warp operation last found missing
};

/// The shared memory of a block, exactly as long as asked for. Without AddressSanitizer a canary follows it.
class SharedMemory {
 public:
#ifdef CLIP_ADDRESS_SANITIZER
  static constexpr std::size_t canary = 0;
#else
  static constexpr std::size_t canary = 64;
#endif
  explicit SharedMemory(std::size_t bytes) : bytes_(bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, bytes + canary) != 0) throw std::bad_alloc();
    memory_.reset(static_cast<unsigned char*>(memory));
  }
  void* data() const { return memory_.get(); }
  std::size_t size() const { return bytes_; }
  void fill() { std::memset(memory_.get(), 0xff, bytes_ + canary); }
  bool overrun() const {
    const unsigned char* const end = memory_.get() + bytes_;
    return std::any_of(end, end + canary, [](unsigned char byte) { return byte != 0xff; });
  }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  std::unique_ptr<unsigned char, Free> memory_;
  std::size_t bytes_;
};

std::vector<std::unique_ptr<Thread>> threads;  // reused by all launches
std::size_t live = 0;                          // of them, those of the current block
Thread* current = nullptr;
SharedMemory* shared = nullptr;
std::exception_ptr failure;
std::uint64_t launches = 0;

unsigned index_in_block(const Thread& t) { return t.index.x + blockDim.x * (t.index.y + blockDim.y * t.index.z); }

std::ostream& operator<<(std::ostream& out, const dim3& d) {
  return out << '(' << d.x << ", " << d.y << ", " << d.z << ')';
}
std::ostream& operator<<(std::ostream& out, Site site) {
  const char* const name = std::strrchr(site.file, '/');
  return out << (name == nullptr ? site.file : name + 1) << ':' << site.line;
}
bool operator==(Site a, Site b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

std::string where() {
  std::ostringstream text;
  text << " [block " << blockIdx << ", launch " << launches << ", CLIP_HOST_CUDA_SEED=" << seed() << "]";
  return text.str();
}

/// The message when no thread of the block can go on.
std::string stuck() {
  std::map<std::string, std::pair<int, dim3>> groups;  // what they wait for: how many, and one of them
  for (std::size_t i = 0; i < live; ++i) {
    const Thread& t = *threads[i];
    std::ostringstream what;
    if (t.state == State::finished)
      what << "finished";
    else if (t.state == State::at_barrier)
      what << "at the barrier of " << t.site;
    else
      what << "in the warp operation of " << t.site << " with mask 0x" << std::hex << t.mask;
    auto [group, added] = groups.try_emplace(what.str(), 0, t.index);
    ++group->second.first;
  }
  std::ostringstream text;
  text << "threads wait for others that never come:";
  for (const auto& [what, group] : groups)
    text << "\n  " << group.first << " " << what << ", for example thread " << group.second;
  return text.str() + where();
}

/// Gives ranks to the threads of the block, and returns them by rank.
std::vector<unsigned> choose_order(int policy, std::mt19937_64& random) {
  std::vector<unsigned> order(live);
  std::iota(order.begin(), order.end(), 0u);
  if (policy == 1) std::reverse(order.begin(), order.end());
  if (policy >= 2) std::shuffle(order.begin(), order.end(), random);
  if (policy >= 3) {
    const auto warps = static_cast<unsigned>((live + 31) / 32), chosen = static_cast<unsigned>(random() % warps);
    std::stable_partition(order.begin(), order.end(), [=](unsigned t) { return (t / 32 == chosen) == (policy == 3); });
  }
  for (unsigned rank = 0; rank < order.size(); ++rank) threads[order[rank]]->rank = rank;
  return order;
}

/// Runs the threads of a block until all have finished.
void run_block(std::mt19937_64& random) {
  const int policy = static_cast<int>(random() % 5);
  std::vector<std::uint64_t> ready((live + 63) / 64);  // a bit for each rank
  const auto push = [&](const Thread& t) { ready[t.rank / 64] |= std::uint64_t{1} << t.rank % 64; };
  for (;;) {
    const std::vector<unsigned> order = choose_order(policy, random);
    for (std::size_t i = 0; i < live; ++i)
      if (threads[i]->state == State::ready) push(*threads[i]);
    for (std::size_t word = 0; word < ready.size();) {
      if (ready[word] == 0) {
        ++word;
        continue;
      }
      Thread* const t = threads[order[word * 64 + static_cast<std::size_t>(std::countr_zero(ready[word]))]].get();
      ready[word] &= ready[word] - 1;
      current = t;
      threadIdx = t->index;
      t->fiber.resume();
      if (failure) std::rethrow_exception(failure);
      if (t->state != State::ready) continue;
      // it has completed a warp operation, and with it those that waited for it
      for (std::size_t i = index_in_block(*t) / 32 * 32, end = std::min(i + 32, live); i < end; ++i)
        if ((t->mask >> i % 32 & 1u) != 0) push(*threads[i]);
      word = 0;
    }
    std::size_t finished = 0, waiting = 0;
    for (std::size_t i = 0; i < live; ++i) {
      finished += threads[i]->state == State::finished;
      waiting += threads[i]->state == State::at_barrier && threads[i]->site == threads[0]->site;
    }
    if (finished == live) return;
    if (waiting != live) throw Mistake(stuck());
    for (std::size_t i = 0; i < live; ++i) threads[i]->state = State::ready;
  }
}

}  // namespace

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* const text = std::getenv("CLIP_HOST_CUDA_SEED");
    return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
  }();
  return value;
}

std::size_t most_shared() {
  const char* const text = std::getenv("CLIP_HOST_CUDA_SHARED");
  return text == nullptr ? 227 * 1024 : std::strtoull(text, nullptr, 10);
}

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  std::mt19937_64 random(seed() * 1'000'003 + ++launches);
  live = std::size_t{block.x} * block.y * block.z;
  while (threads.size() < live) threads.push_back(std::make_unique<Thread>());
  blockDim = block;
  gridDim = grid;
  SharedMemory memory(shared_bytes);
  shared = &memory;

  std::vector<std::uint64_t> blocks(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), std::uint64_t{0});
  std::shuffle(blocks.begin(), blocks.end(), random);
  const auto body = [&kernel] {
    try {
      kernel();
    } catch (...) {
      failure = std::current_exception();
    }
    current->state = State::finished;
  };
  for (const std::uint64_t b : blocks) {
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    for (unsigned i = 0; i < live; ++i) {
      threads[i]->index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
      threads[i]->state = State::ready;
      threads[i]->copies.assign(1, {});
      threads[i]->fiber.start(body);
    }
    memory.fill();
    failure = nullptr;
    run_block(random);
    if (memory.overrun())
      throw Mistake("shared memory was written past the " + std::to_string(shared_bytes) +
                    " bytes that the launch asked for" + where());
  }
}

void* shared_memory(std::size_t bytes) {
  if (bytes > shared->size())
    throw Mistake("the kernel uses " + std::to_string(bytes) + " bytes of shared memory, the launch asked for " +
                  std::to_string(shared->size()) + where());
  return shared->data();
}

void block_barrier(Site site) {
  current->site = site;
  current->state = State::at_barrier;
  current->fiber.suspend();
}

namespace {
void finish(const Copies& copies) {
  for (const auto& [to, from] : copies)
    if (from == nullptr)
      std::memset(to, 0, 16);
    else
      std::memcpy(to, from, 16);
}
}  // namespace

void copy_async(void* to, const void* from, bool there, Site site) {
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0)
    mistake(site, "a copy of 16 bytes from or to what is no multiple of 16");
  std::memset(to, 0xff, 16);
  current->copies.back().emplace_back(to, there ? from : nullptr);
}

void commit_copies() { current->copies.emplace_back(); }

void wait_for_groups(std::size_t later) {
  auto& groups = current->copies;
  while (groups.size() > later + 1) {
    finish(groups.front());
    groups.pop_front();
  }
}

void wait_for_copies() {
  wait_for_groups(0);
  finish(current->copies.back());
  current->copies.back().clear();
}

unsigned lane() { return index_in_block(*current) % 32; }

void mistake(Site site, const std::string& what) {
  std::ostringstream text;
  text << site << ": thread " << current->index << ": " << what << where();
  throw Mistake(text.str());
}

void warp_operation(Site site, unsigned mask, void* data, Complete complete) {
  Thread& self = *current;
  const std::size_t first = index_in_block(self) / 32 * 32;
  if ((mask >> lane() & 1u) == 0) mistake(site, "its mask leaves out the thread itself");
  self.site = site;
  self.mask = mask;
  self.data = data;
  self.state = State::in_warp_operation;
  void* all[32] = {};
  std::size_t& missing = threads[first]->missing;
  for (std::size_t from = missing, i = 0; i < 32; ++i) {
    const std::size_t l = (from + i) % 32;
    if ((mask >> l & 1u) == 0) continue;
    if (first + l >= live) mistake(site, "its mask names lanes that the block does not have");
    const Thread& other = *threads[first + l];
    if (other.state != State::in_warp_operation || !(other.site == site) || other.mask != mask) {
      missing = l;
      return self.fiber.suspend();
    }
    all[l] = other.data;
  }
  complete(all);
  for (std::size_t l = 0; l < 32; ++l)
    if (all[l] != nullptr) threads[first + l]->state = State::ready;
  self.fiber.suspend();
}

}  // namespace clip::host_cuda
