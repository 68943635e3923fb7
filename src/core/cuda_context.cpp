#include "src/core/cuda_context.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/core/index_fault.hpp"

namespace clip {
namespace {

void cuda_check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail("cuda", what, ": ", cudaGetErrorString(status));
}

/// Memory of the host that a GPU reads and writes itself.
void* allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMallocHost(&memory, bytes);
  if (status != cudaSuccess) {
    cudaGetLastError();  // must not surface in the next call
    fail("cuda", "allocating ", bytes, " bytes of pinned memory: ", cudaGetErrorString(status),
         ": leave more of the host's memory free, or keep smaller data sets in it");
  }
  return memory;
}

using DeviceAddress = unsigned long long;  // the driver's CUdeviceptr

/// A function of CUDA's driver, which has memsets of words where the runtime has bytes only. Found when it is needed,
/// so that nothing has to be linked with the driver.
template <class F>
F* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  cuda_check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found), name);
  check(found == cudaDriverEntryPointSuccess, "cuda", "expected a driver that has ", name, ", got an older one");
  return reinterpret_cast<F*>(function);
}
void driver_check(int status) { check(status == 0, "cuda", "filling: error ", status, " of the driver"); }

/// The memory of a graph, which has it as long as the graph is there or a tensor in it.
class GraphMemory {
 public:
  explicit GraphMemory(CudaContext& context) : context_(context) {}
  ~GraphMemory() {
    for (const Block& block : blocks_) context_.release(block.memory);
  }
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

  /// The smallest block that is free and at most twice as large as needed; null where there is none.
  void* take(std::size_t bytes) {
    Block* best = nullptr;
    for (Block& block : blocks_)
      if (block.free && block.bytes >= bytes && block.bytes / 2 <= bytes &&
          (best == nullptr || block.bytes < best->bytes))
        best = &block;
    if (best == nullptr) return nullptr;
    best->free = false;
    return best->memory;
  }
  void add(void* memory, std::size_t bytes) { blocks_.push_back({memory, bytes, false}); }
  /// The memory of another graph, which this one's work uses.
  void keep(std::shared_ptr<GraphMemory> other) { kept_.push_back(std::move(other)); }
  /// False where it is not a block of this memory.
  bool give_back(void* memory) {
    for (Block& block : blocks_)
      if (block.memory == memory) return block.free = true;
    return false;
  }

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
    bool free;
  };
  CudaContext& context_;
  std::vector<Block> blocks_;
  std::vector<std::shared_ptr<GraphMemory>> kept_;
};

/// Pinned memory through which uploads go. What is in it is sent later, so nobody waits for the stream and the source
/// may change at once; but where more is on its way than one half holds, the other half has to be free again.
class Staging {
 public:
  Staging() = default;
  ~Staging() {
    for (const Half& half : halves_) {
      if (half.memory != nullptr) cudaFreeHost(half.memory);
      if (half.sent != nullptr) cudaEventDestroy(half.sent);
    }
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < bytes;) {
      Half& half = half_with_room();
      const std::size_t part = std::min(bytes - done, half_bytes - used_);
      std::memcpy(half.memory + used_, static_cast<const std::byte*>(from) + done, part);
      cuda_check(cudaMemcpyAsync(static_cast<std::byte*>(to) + done, half.memory + used_, part, cudaMemcpyHostToDevice,
                                 stream),
                 "copying to the GPU");
      cuda_check(cudaEventRecord(half.sent, stream), "copying to the GPU");
      used_ += part;
      done += part;
    }
  }

 private:
  static constexpr std::size_t half_bytes = std::size_t{64} << 20;  // a batch of 256 pictures of 224 x 224
  struct Half {
    std::byte* memory = nullptr;
    cudaEvent_t sent = nullptr;
  };

  Half& half_with_room() {
    const bool full = used_ == half_bytes;
    if (full) {
      current_ = 1 - current_;
      used_ = 0;
    }
    Half& half = halves_[current_];
    if (half.memory == nullptr) {
      if (half.sent == nullptr)  // it is there where the memory could not be had before
        cuda_check(cudaEventCreateWithFlags(&half.sent, cudaEventDisableTiming), "making an event");
      half.memory = static_cast<std::byte*>(allocate_pinned(half_bytes));
    } else if (full) {
      cuda_check(cudaEventSynchronize(half.sent), "waiting for pinned memory");
    }
    return half;
  }

  std::mutex mutex_;
  std::array<Half, 2> halves_;
  std::size_t current_ = 0, used_ = 0;
};

class RuntimeContext final : public CudaContext {
 public:
  explicit RuntimeContext(int index) : index_(index) {
    activate();
    cuda_check(cudaDeviceGetDefaultMemPool(&pool_, index_), "finding the memory pool");
    std::uint64_t kept_bytes = UINT64_MAX;  // by default all that is free goes back whenever a stream is waited for
    cuda_check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &kept_bytes), "keeping memory");
    cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    cuda_check(cudaStreamCreateWithFlags(&beside_, cudaStreamNonBlocking), "creating a stream");
  }
  ~RuntimeContext() override {
    // Nothing can be done about an error while tearing down.
    cudaSetDevice(index_);
    cudaStreamSynchronize(stream_);
    kept_.clear();  // while the stream is there
    cudaFreeHost(faults_);
    cudaStreamDestroy(beside_);
    cudaStreamDestroy(stream_);
  }
  int index() const override { return index_; }
  void* stream() const override {
    activate();
    return stream_;
  }
  void* kept(std::shared_ptr<void> (*create)(void* stream)) override {
    const std::lock_guard lock(kept_mutex_);
    std::shared_ptr<void>& found = kept_[create];
    if (found == nullptr) {
      not_captured("the first use of a library: run the work once before");
      found = create(stream());
    }
    return found.get();
  }
  IndexFaults* index_faults() override {
    const std::lock_guard lock(kept_mutex_);
    if (faults_ == nullptr) {
      not_captured("the first check of indices: run the work once before");
      activate();
      faults_ = new (allocate_pinned(sizeof(IndexFaults))) IndexFaults;
    }
    return faults_;
  }
  void synchronize() override {
    not_captured("a wait for the GPU");
    activate();
    cuda_check(cudaStreamSynchronize(stream_), "waiting for the GPU");
    throw_fault();
  }
  std::shared_ptr<void> capture(const std::function<void()>& work, void* other) override {
    not_captured("another graph");
    synchronize();  // so that all memory freed until now can be had
    auto recorded = std::shared_ptr<Recorded>(new Recorded{
        *this, other == nullptr ? std::make_shared<GraphMemory>(*this) : static_cast<Recorded*>(other)->memory});
    {
      const std::lock_guard lock(graph_mutex_);
      // relaxed: this thread takes memory meanwhile, from another stream
      cuda_check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "beginning to capture");
      capture_ = recorded->memory;
      before_replay_ = &recorded->before;
    }
    const auto end = [&] {
      const std::lock_guard lock(graph_mutex_);
      capture_ = nullptr;
      cudaGraph_t graph = nullptr;
      const cudaError_t status = cudaStreamEndCapture(stream_, &graph);
      return std::pair(status, graph);
    };
    try {
      work();
    } catch (...) {
      if (const auto [status, graph] = end(); graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();  // what `work` threw says more
      throw;
    }
    const auto [status, graph] = end();
    cuda_check(status, "capturing");
    const cudaError_t instantiated = cudaGraphInstantiate(&recorded->graph, graph, 0);
    cudaGraphDestroy(graph);
    cuda_check(instantiated, "making a graph");
    return recorded;
  }
  bool capturing() const override { return capture_ != nullptr; }
  void before_replay(std::function<void()> work) override { before_replay_->push_back(std::move(work)); }
  void replay(void* recorded) override {
    not_captured("a replay of another");
    activate();
    for (const auto& work : static_cast<Recorded*>(recorded)->before) work();
    cuda_check(cudaGraphLaunch(static_cast<Recorded*>(recorded)->graph, stream_), "starting a graph");
  }
  void* allocate(std::size_t bytes) override {
    activate();
    const std::lock_guard lock(graph_mutex_);
    if (capture_ == nullptr) return allocate(bytes, stream_);
    void* memory = capture_->take(bytes);
    if (memory == nullptr) {
      capture_->add(memory = allocate(bytes, beside_), bytes);
      cuda_check(cudaStreamSynchronize(beside_), "allocating for a graph");
    }
    in_graphs_[memory] = capture_;
    return memory;
  }
  void release(void* memory) noexcept override {
    std::shared_ptr<GraphMemory> owner;  // may go when this returns, and then releases its blocks
    const std::lock_guard lock(graph_mutex_);
    if (const auto found = in_graphs_.find(memory); found != in_graphs_.end()) {
      owner = std::move(found->second);
      in_graphs_.erase(found);
      owner->give_back(memory);
      if (capture_ != nullptr && capture_ != owner) capture_->keep(std::move(owner));  // what was recorded may use it
    } else if (capture_ != nullptr) {
      capture_->add(memory, 0);  // what was recorded may use it
    } else {
      cudaSetDevice(index_);
      cudaFreeAsync(memory, stream_);
    }
  }
  void upload(void* to, const void* from, std::size_t bytes) override {
    not_captured("a copy from the host");
    activate();
    staging_.upload(to, from, bytes, stream_);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    not_captured("a copy to the host");
    copy(to, from, bytes);
    synchronize();
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    activate();
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "copying");
  }
  void copy_from_other(void* to, const void* from, int other, std::size_t bytes) override {
    activate();
    cuda_check(cudaMemcpyPeerAsync(to, index_, from, other, bytes, stream_), "copying from another GPU");
  }
  void fill(void* to, const void* element, std::size_t size, std::size_t count) override {
    activate();
    std::array<std::uint32_t, 2> words{};
    std::memcpy(words.data(), element, size);
    const auto* bytes = static_cast<const std::byte*>(element);
    const auto address = reinterpret_cast<std::uintptr_t>(to);
    if (std::all_of(bytes, bytes + size, [&](std::byte b) { return b == *bytes; })) {
      cuda_check(cudaMemsetAsync(to, std::to_integer<int>(*bytes), size * count, stream_), "filling");
    } else if (size == 8) {
      for (std::size_t half = 0; half < 2; ++half)
        driver_check(driver_function<int(DeviceAddress, std::size_t, unsigned, std::size_t, std::size_t, cudaStream_t)>(
            "cuMemsetD2D32Async")(address + 4 * half, 8, words[half], 1, count, stream_));
    } else if (size == 4) {
      driver_check(driver_function<int(DeviceAddress, unsigned, std::size_t, cudaStream_t)>("cuMemsetD32Async")(
          address, words[0], count, stream_));
    } else {
      driver_check(driver_function<int(DeviceAddress, unsigned short, std::size_t, cudaStream_t)>("cuMemsetD16Async")(
          address, static_cast<unsigned short>(words[0]), count, stream_));
    }
  }

 private:
  /// A graph and its memory.
  struct Recorded {
    RuntimeContext& context;
    std::shared_ptr<GraphMemory> memory;
    std::vector<std::function<void()>> before = {};  // each replay
    cudaGraphExec_t graph = nullptr;
    ~Recorded() {
      if (graph == nullptr) return;
      cudaSetDevice(context.index_);
      cudaGraphExecDestroy(graph);  // one that is running goes when it is done
    }
  };

  void activate() const { cuda_check(cudaSetDevice(index_), "choosing the GPU"); }

  void not_captured(const char* what) const {
    check(capture_ == nullptr, "graph", "expected only launches while a graph is recorded, got ", what);
  }
  /// Throws the fault of the lowest position that kernels have noted, and forgets them all.
  void throw_fault() {
    const std::lock_guard lock(kept_mutex_);
    if (faults_ == nullptr || faults_->any == 0) return;
    faults_->any = 0;  // before looking, so that what kernels find meanwhile is seen at the next wait
    IndexFault first;
    for (IndexFault& fault : faults_->of_thread) {
      if (fault.check.op == nullptr) continue;
      if (first.check.op == nullptr || fault.position < first.position) first = fault;
      fault = {};
    }
    if (first.check.op != nullptr) first.check.raise(first.position, first.value);
  }
  void* allocate(std::size_t bytes, cudaStream_t stream) {
    void* memory = nullptr;
    const cudaError_t status = cudaMallocAsync(&memory, bytes, stream);
    if (status == cudaErrorMemoryAllocation || status == cudaErrorInvalidValue) {  // of sizes beyond all memory
      cudaGetLastError();  // the failed request must not surface in the next call
      std::size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      std::uint64_t reserved = 0, used = 0;
      cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved);
      cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used);
      fail("allocate", "out of memory on cuda:", index_, ": asked for ", bytes, " bytes, ", free + (reserved - used),
           " of ", total, " free: use smaller batches");
    }
    cuda_check(status, "allocating");
    return memory;
  }

  int index_;
  cudaStream_t stream_ = nullptr, beside_ = nullptr;  // graphs take memory in the latter
  cudaMemPool_t pool_ = nullptr;
  Staging staging_;
  IndexFaults* faults_ = nullptr;
  std::vector<std::function<void()>>* before_replay_ = nullptr;  // of the graph that is recorded
  std::mutex kept_mutex_;
  std::map<std::shared_ptr<void> (*)(void*), std::shared_ptr<void>> kept_;
  std::shared_ptr<GraphMemory> capture_;  // of the graph that is being recorded
  std::mutex graph_mutex_;
  std::unordered_map<void*, std::shared_ptr<GraphMemory>> in_graphs_;  // blocks that tensors have
};

}  // namespace

int CudaContext::device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no GPU: not an error here
    return 0;
  }
  return count;
}

std::shared_ptr<CudaContext> CudaContext::make(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // it must not surface in the next call
  if (status != cudaSuccess) fail("device", "expected a GPU, got none: ", cudaGetErrorString(status));
  check(index >= 0 && index < count, "device", "expected one of ", count, " GPUs, got cuda:", index);
  return std::make_shared<RuntimeContext>(index);
}

}  // namespace clip
