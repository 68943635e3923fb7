#include "clip/core/device.hpp"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <ostream>
#include <unordered_map>
#include <vector>

#include "clip/core/error.hpp"
#include "src/core/cuda_context.hpp"

namespace clip {
namespace {

/// Keeps freed large blocks for reuse: fresh pages cost more than most kernels that write them (the kernel clears each
/// one). Small blocks go straight to malloc, which is good at them. The largest ask for huge pages, of which a core
/// finds the addresses of a whole working set at once.
class HostMemory {
 public:
  void* allocate(std::size_t bytes) {
    const std::size_t size = rounded(bytes);
    if (size >= cache_from) {
      const std::lock_guard lock(mutex_);
      std::vector<void*>& blocks = free_[size];
      blocks.reserve(blocks_per_size);  // release must not allocate
      if (!blocks.empty()) {
        void* memory = blocks.back();
        blocks.pop_back();
        cached_ -= size;
        return memory;
      }
    }
    void* memory = nullptr;
    if (size >= bytes) {  // rounding up may have wrapped around
      memory = fresh(size);
      if (memory == nullptr && trim()) memory = fresh(size);
    }
    check(memory != nullptr, "allocate", "out of memory on cpu: asked for ", bytes, " bytes");
    return memory;
  }

  void release(void* memory, std::size_t bytes) noexcept {
    const std::size_t size = rounded(bytes);
    if (size >= cache_from) {
      const std::lock_guard lock(mutex_);
      const auto blocks = free_.find(size);
      if (blocks != free_.end() && cached_ + size <= cache_limit && blocks->second.size() < blocks->second.capacity()) {
        blocks->second.push_back(memory);
        cached_ += size;
        return;
      }
    }
    std::free(memory);
  }

 private:
  static constexpr std::size_t alignment = 64;
#ifdef CLIP_ADDRESS_SANITIZER
  static constexpr std::size_t cache_from = SIZE_MAX;  // let the sanitizer see every use after free
#else
  static constexpr std::size_t cache_from = std::size_t{1} << 16;  // from about here malloc gives pages back
#endif
  static constexpr std::size_t huge_page = std::size_t{2} << 20;
  static constexpr std::size_t cache_limit = std::size_t{1} << 30;
  static constexpr std::size_t blocks_per_size = 16;

  static void* fresh(std::size_t size) {
    if (size < huge_page) return std::aligned_alloc(alignment, size);
    void* memory = nullptr;
    if (posix_memalign(&memory, huge_page, size) != 0) return nullptr;
    madvise(memory, size / huge_page * huge_page, MADV_HUGEPAGE);  // a hint: it may fail
    return memory;
  }

  /// Whole cache lines; from 64 KiB on, sizes in steps of an eighth, so that similar requests share blocks.
  static std::size_t rounded(std::size_t bytes) {
    std::size_t step = alignment;
    if (bytes >= cache_from) step = std::max(alignment, std::bit_floor(bytes) / 8);
    return std::max(alignment, (bytes + step - 1) / step * step);
  }

  bool trim() {
    const std::lock_guard lock(mutex_);
    const bool any = cached_ > 0;
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) std::free(block);
      blocks.clear();
    }
    cached_ = 0;
    return any;
  }

  std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> free_;
  std::size_t cached_ = 0;
};

/// Never destroyed: tensors with static lifetime may outlive anything that is.
HostMemory& host_memory() {
  static HostMemory& memory = *new HostMemory;
  return memory;
}

}  // namespace

Device Device::cuda(int index) {
  Device device;
  device.cuda_ = CudaContext::make(index);
  return device;
}

int Device::cuda_count() { return CudaContext::device_count(); }

std::string Device::name() const { return is_cpu() ? "cpu" : "cuda:" + std::to_string(cuda_->index()); }

bool Device::capturing() const { return is_cuda() && cuda_->capturing(); }

IndexFaults* Device::index_faults() const {
  check(is_cuda(), "device", "expected a GPU, got cpu");
  return cuda_->index_faults();
}

void Device::synchronize() const {
  if (is_cuda()) cuda_->synchronize();
}

void* Device::stream() const { return is_cpu() ? nullptr : cuda_->stream(); }

void* Device::kept(std::shared_ptr<void> (*make)(void* stream)) const {
  check(is_cuda(), "device", "expected a GPU, got cpu");
  return cuda_->kept(make);
}

void* Device::allocate(std::size_t bytes) const {
  return is_cpu() ? host_memory().allocate(bytes) : cuda_->allocate(std::max<std::size_t>(bytes, 1));
}

void Device::release(void* memory, std::size_t bytes) const noexcept {
  if (is_cpu())
    host_memory().release(memory, bytes);
  else
    cuda_->release(memory);
}

void Device::fill(void* to, const void* element, std::size_t size, std::int64_t count) const {
  check(is_cuda(), "fill", "expected a GPU, got cpu");
  if (count > 0) cuda_->fill(to, element, size, static_cast<std::size_t>(count));
}

void copy_bytes(void* to, const Device& to_device, const void* from, const Device& from_device, std::size_t bytes) {
  if (bytes == 0) return;
  if (to_device.is_cpu() && from_device.is_cpu()) {
    std::memmove(to, from, bytes);
    return;
  }
  if (from_device.is_cpu()) return to_device.cuda_->upload(to, from, bytes);
  if (to_device.is_cpu()) return from_device.cuda_->download(to, from, bytes);
  if (from_device == to_device) return to_device.cuda_->copy(to, from, bytes);
  from_device.synchronize();
  to_device.cuda_->copy_from_other(to, from, from_device.cuda_->index(), bytes);
  to_device.synchronize();
}

std::ostream& operator<<(std::ostream& out, const Device& device) { return out << device.name(); }

bool has_fast_bf16(const Device& device) {
#if defined(__x86_64__)
  return device.is_cuda() || __builtin_cpu_supports("avx512bf16");  // CPUs with AMX have these too
#else
  return device.is_cuda();
#endif
}

int num_threads() { return omp_get_max_threads(); }

void set_num_threads(int count) {
  check(count >= 1, "set_num_threads", "expected at least 1 thread, got ", count);
  omp_set_num_threads(count);
}

}  // namespace clip
