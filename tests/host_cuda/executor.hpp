#pragma once
// Runs CUDA kernels on the host: the blocks of a grid one after another in a shuffled order, the threads of a block as
// fibers, each until it waits for others. Which thread goes first is chosen anew for every block, and again at each of
// its barriers: shuffled, ascending, descending, one warp as far ahead of the others as it can get, or as far behind.
// A kernel that lacks a barrier computes something else in one of these orders.
//
// Found, and thrown as a `Mistake`:
//   - a block barrier that some threads wait at while others have finished or wait elsewhere
//   - a warp operation whose mask leaves out its caller, or names lanes that do not come, or come elsewhere
//   - a shuffle that reads a lane outside the mask
//   - shared memory written past what the launch asked for (AddressSanitizer sees reads, too)
// Shared memory is filled with NaN patterns before each block, so reading before writing shows in results.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

/// Three extents, or coordinates.
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
/// The place of the current thread.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace clip::host_cuda {

/// What a kernel did wrong. The message has the place in the kernel, the block, the threads, and the seed.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Where in the kernel's source a thread waits.
struct Site {
  const char* file;
  int line;
};

/// Chooses all orders, together with the number of the launch: from CLIP_HOST_CUDA_SEED in the environment, else 1.
std::uint64_t seed();

/// The most shared memory that a block may ask for: CLIP_HOST_CUDA_SHARED in the environment, else 227 KiB as on sm_90.
std::size_t most_shared();

/// Runs `kernel` once for each thread of the grid.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

// What follows is called from inside a kernel.

/// The block's shared memory, of which the caller is going to use `bytes`.
void* shared_memory(std::size_t bytes);

/// Waits for all threads of the block.
void block_barrier(Site site);

/// Waits until all lanes in `mask` have come to the same place with the same mask; then the last of them calls
/// `complete` with the `data` of each lane, null for those outside the mask.
using Complete = void (*)(void* const (&data)[32]);
void warp_operation(Site site, unsigned mask, void* data, Complete complete);

/// Begins to copy 16 bytes, or zeros, to shared memory, which has NaN patterns until the thread waits for its copies.
void copy_async(void* shared, const void* global, bool there, Site site = {__builtin_FILE(), __builtin_LINE()});
void wait_for_copies();
/// Ends a group of copies, and waits for all groups that have ended but the last `later`.
void commit_copies();
void wait_for_groups(std::size_t later);

/// The current thread's lane in its warp.
unsigned lane();

[[noreturn]] void mistake(Site site, const std::string& what);

}  // namespace clip::host_cuda
