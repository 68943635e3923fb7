// The host executor's streams and graphs, and the mistakes in their use that it finds.
#include "tests/host_cuda/stream.hpp"

#include <cuda_runtime.h>

#include <array>

#include "kernels/device/launch.cuh"
#include "tests/support/catch.hpp"

using namespace clip::kernels::cuda;

namespace {

__global__ void add_one(int* x) { x[threadIdx.x] += 1; }

struct TestStream {
  cudaStream_t stream = nullptr;
  TestStream() { cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }
  ~TestStream() { cudaStreamDestroy(stream); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;

  /// Records `work`; the status of the end of the capture.
  template <class Work>
  cudaError_t capture(cudaGraph_t& graph, const Work& work) const {
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
    work();
    return cudaStreamEndCapture(stream, &graph);
  }
};

}  // namespace

TEST_CASE("launches, copies and memsets are recorded with their arguments, and replayed", "[host_cuda]") {
  const TestStream s;
  std::array<int, 4> x{1, 2, 3, 4}, y{};
  cudaGraph_t graph = nullptr;
  REQUIRE(s.capture(graph, [&] {
    int* at = x.data();
    launch("add_one", {1, {4}}, s.stream, add_one, at);
    at = nullptr;
    cudaMemcpyAsync(y.data(), x.data(), sizeof x, cudaMemcpyDefault, s.stream);
    cudaMemsetAsync(x.data(), 0, sizeof(int), s.stream);
  }) == cudaSuccess);
  CHECK(x == std::array<int, 4>{1, 2, 3, 4});
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(x == std::array<int, 4>{1, 2, 3, 4});
  cudaGraphLaunch(exec, s.stream);
  CHECK(y == std::array<int, 4>{2, 3, 4, 5});
  cudaGraphLaunch(exec, s.stream);
  CHECK(y == std::array<int, 4>{1, 4, 5, 6});
  cudaGraphExecDestroy(exec);
}

TEST_CASE("waiting for a stream spoils what is recorded from it", "[host_cuda]") {
  const TestStream s;
  cudaGraph_t graph = nullptr;
  CHECK(s.capture(graph, [&] { CHECK(cudaStreamSynchronize(s.stream) == cudaErrorStreamCaptureUnsupported); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(graph == nullptr);
  CHECK(cudaStreamSynchronize(s.stream) == cudaSuccess);
  CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorIllegalState);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed) == cudaErrorStreamCaptureUnsupported);
}

TEST_CASE("memory asked for in a graph is freed in it, and other memory is not", "[host_cuda]") {
  const TestStream s;
  cudaGraph_t graph = nullptr;
  void* memory = nullptr;
  CHECK(s.capture(graph, [&] {
    CHECK(cudaMallocAsync(&memory, 16, s.stream) == cudaSuccess);
    CHECK(cudaFreeAsync(memory, s.stream) == cudaSuccess);
  }) == cudaSuccess);
  cudaGraphDestroy(graph);
  CHECK(s.capture(graph, [&] { cudaMallocAsync(&memory, 16, s.stream); }) == cudaErrorStreamCaptureInvalidated);
  REQUIRE(cudaMalloc(&memory, 16) == cudaSuccess);
  CHECK(s.capture(graph, [&] { CHECK(cudaFreeAsync(memory, s.stream) == cudaErrorInvalidValue); }) ==
        cudaErrorStreamCaptureInvalidated);
  cudaFree(memory);
}
