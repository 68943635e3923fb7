#pragma once
// Streams of the host executor. They run everything at once, or, while a graph is captured from them, only record it.
// Copies from pinned memory, which cudaMemcpyHostToDevice stands for, begin with the next thing that is put into the
// stream or waits for it: what the host writes there too early arrives.
// What CUDA's documentation forbids during a capture is an error here too, and spoils the capture; so is memory that a
// graph asks for and does not free itself, and copies that begin or end in memory of the host which is not pinned.
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorIllegalState = 401,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};

struct CUstream_st;
using cudaStream_t = CUstream_st*;

namespace clip::host_cuda {

/// What a graph does, and the memory of its allocation nodes.
struct Recording {
  std::vector<std::function<void()>> work;
  std::vector<void*> memory;
  std::set<void*> not_freed;
  bool spoiled = false;
  ~Recording() {
    for (void* block : memory) std::free(block);
  }
};

/// How often the host waited for a GPU.
inline int waits = 0;
/// Whether cudaMallocHost fails.
inline bool no_pinned_memory = false;

}  // namespace clip::host_cuda

struct CUstream_st {
  std::shared_ptr<clip::host_cuda::Recording> recording;
  std::vector<std::function<void()>> delayed;

  void catch_up() {
    for (const auto& copy : std::exchange(delayed, {})) copy();
  }
};
struct CUevent_st {
  cudaStream_t stream;
  std::chrono::steady_clock::time_point when;  // recorded: the stream has then done all that was put into it
};
using cudaEvent_t = CUevent_st*;
struct CUgraph_st {
  std::shared_ptr<clip::host_cuda::Recording> recording;
};
struct CUgraphExec_st {
  std::shared_ptr<clip::host_cuda::Recording> recording;
};
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;
enum { cudaStreamNonBlocking = 1 };
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };

namespace clip::host_cuda {

inline Recording* recording_of(cudaStream_t stream) { return stream == nullptr ? nullptr : stream->recording.get(); }

/// Does what was put into a stream, or records it.
template <class Work>
void submit(cudaStream_t stream, Work&& work) {
  if (Recording* recording = recording_of(stream)) return void(recording->work.emplace_back(std::forward<Work>(work)));
  if (stream != nullptr) stream->catch_up();
  work();
}

/// The host waits for a stream, which it must not during a capture.
inline cudaError_t wait(cudaStream_t stream) {
  if (Recording* recording = recording_of(stream)) {
    recording->spoiled = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  ++waits;
  if (stream != nullptr) stream->catch_up();
  return cudaSuccess;
}

/// Filled with NaN patterns: reading before writing shows.
inline void* poisoned(std::size_t bytes) {
  void* const block = std::malloc(bytes);
  return block == nullptr ? nullptr : std::memset(block, 0xff, bytes);
}

/// Bytes of stream-ordered memory in use, but for what graphs ask for themselves; and most of them at a time.
inline std::atomic<std::uint64_t> pool_used = 0, pool_high = 0;
inline void take_from_pool(void* block) {
  const std::uint64_t used = pool_used += malloc_usable_size(block);
  std::uint64_t high = pool_high;
  while (high < used && !pool_high.compare_exchange_weak(high, used)) {
  }
}

}  // namespace clip::host_cuda

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return clip::host_cuda::wait(stream); }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (stream->recording != nullptr) return cudaErrorIllegalState;
  stream->catch_up();
  stream->recording = std::make_shared<clip::host_cuda::Recording>();
  return cudaSuccess;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status =
      clip::host_cuda::recording_of(stream) == nullptr ? cudaStreamCaptureStatusNone : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (clip::host_cuda::recording_of(stream) == nullptr) return cudaErrorIllegalState;
  const auto recording = std::move(stream->recording);
  if (recording->spoiled || !recording->not_freed.empty()) return cudaErrorStreamCaptureInvalidated;
  *graph = new CUgraph_st{recording};
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->recording};
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (clip::host_cuda::recording_of(stream) != nullptr) return cudaErrorStreamCaptureUnsupported;  // child graphs: none
  for (const auto& work : exec->recording->work) clip::host_cuda::submit(stream, work);
  return cudaSuccess;
}

template <class T>
cudaError_t cudaMalloc(T** memory, std::size_t bytes) {
  *memory = static_cast<T*>(clip::host_cuda::poisoned(bytes));
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMallocAsync(T** memory, std::size_t bytes, cudaStream_t stream) {
  const cudaError_t status = cudaMalloc(memory, bytes);
  auto* recording = clip::host_cuda::recording_of(stream);
  if (status == cudaSuccess && recording == nullptr) clip::host_cuda::take_from_pool(*memory);
  if (status != cudaSuccess || recording == nullptr) return status;
  recording->memory.push_back(*memory);
  recording->not_freed.insert(*memory);
  recording->work.emplace_back([block = *memory, bytes] { std::memset(block, 0xff, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  auto* recording = clip::host_cuda::recording_of(stream);
  if (recording == nullptr) {
    if (stream != nullptr) stream->catch_up();
    clip::host_cuda::pool_used -= malloc_usable_size(memory);
    return cudaFree(memory);
  }
  if (recording->not_freed.erase(memory) == 1) return cudaSuccess;
  recording->spoiled = true;
  return cudaErrorInvalidValue;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = 0;
  return cudaSuccess;
}
using cudaMemPool_t = void*;  // there is one
enum cudaMemPoolAttr {
  cudaMemPoolAttrReleaseThreshold = 4,
  cudaMemPoolAttrReservedMemCurrent = 5,
  cudaMemPoolAttrUsedMemCurrent = 7,
  cudaMemPoolAttrUsedMemHigh = 8
};
inline cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* bytes) {
  *static_cast<std::uint64_t*>(bytes) =
      attribute == cudaMemPoolAttrUsedMemHigh ? clip::host_cuda::pool_high : clip::host_cuda::pool_used;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void*) {
  if (attribute == cudaMemPoolAttrUsedMemHigh) clip::host_cuda::pool_high = clip::host_cuda::pool_used.load();
  return cudaSuccess;
}

enum { cudaEventDisableTiming = 2 };
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{};
  return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {stream, std::chrono::steady_clock::now()};
  return cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) { return clip::host_cuda::wait(event->stream); }

inline cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = clip::host_cuda::no_pinned_memory ? nullptr : std::malloc(bytes);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }

// What the runtime finds of the driver.

enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointSymbolNotFound };
enum { cudaEnableDefault };

namespace clip::host_cuda {

/// Writes a word to every `pitch` bytes.
template <class Word>
int fill(unsigned long long to, std::size_t pitch, Word word, std::size_t count, cudaStream_t stream) {
  if (to % sizeof(Word) != 0 || pitch % sizeof(Word) != 0) return cudaErrorInvalidValue;
  submit(stream, [=] {
    for (std::size_t i = 0; i < count; ++i) *reinterpret_cast<Word*>(to + i * pitch) = word;
  });
  return cudaSuccess;
}
inline int cuMemsetD16Async(unsigned long long to, unsigned short word, std::size_t count, cudaStream_t stream) {
  return fill(to, sizeof word, word, count, stream);
}
inline int cuMemsetD32Async(unsigned long long to, unsigned word, std::size_t count, cudaStream_t stream) {
  return fill(to, sizeof word, word, count, stream);
}
inline int cuMemsetD2D32Async(unsigned long long to, std::size_t pitch, unsigned word, std::size_t width,
                              std::size_t height, cudaStream_t stream) {
  return width == 1 ? fill(to, pitch, word, height, stream) : cudaErrorInvalidValue;
}

}  // namespace clip::host_cuda

inline cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult* found) {
  const std::string_view wanted = name;
  *function = wanted == "cuMemsetD16Async"     ? reinterpret_cast<void*>(clip::host_cuda::cuMemsetD16Async)
              : wanted == "cuMemsetD32Async"   ? reinterpret_cast<void*>(clip::host_cuda::cuMemsetD32Async)
              : wanted == "cuMemsetD2D32Async" ? reinterpret_cast<void*>(clip::host_cuda::cuMemsetD2D32Async)
                                               : nullptr;
  *found = *function == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDefault };
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  ++clip::host_cuda::waits;
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes, cudaStream_t stream) {
  clip::host_cuda::submit(stream, [=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  if (kind == cudaMemcpyHostToDevice && stream != nullptr && stream->recording == nullptr) {
    stream->delayed.emplace_back([=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
  }
  clip::host_cuda::submit(stream, [=] {
    if (bytes > 0) std::memmove(to, from, bytes);
  });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* memory, int byte, std::size_t bytes, cudaStream_t stream) {
  clip::host_cuda::submit(stream, [=] { std::memset(memory, byte, bytes); });
  return cudaSuccess;
}
