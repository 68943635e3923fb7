// A launch takes at most 4096 bytes of arguments: 448 words of 8 bytes, one to a thread, leave room for the others.
#include <algorithm>
#include <cstring>

#include "kernels/device/launch.cuh"
#include "kernels/tensor_list.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr unsigned most_words = 448;

struct Words {
  std::uint64_t each[most_words];
};

__global__ void __launch_bounds__(most_words) write(std::uint64_t* to, Words from) {
  to[threadIdx.x] = from.each[threadIdx.x];
}

}  // namespace

void write_arguments(void* to, const void* from, std::size_t bytes, Stream stream) {
  for (std::size_t done = 0; done < bytes;) {
    Words words{};
    const std::size_t part = std::min(bytes - done, sizeof words);
    std::memcpy(&words, static_cast<const std::byte*>(from) + done, part);
    launch("write_arguments", {1, {static_cast<unsigned>(part / 8)}}, stream, write,
           reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(to) + done), words);
    done += part;
  }
}

}  // namespace clip::kernels::cuda
