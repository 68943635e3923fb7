#pragma once
// oneDNN for our kernels: the one place that knows its versions (2.6 and 3.x), its caches and its errors.
//
// Making a primitive costs a hundred times what starting one does, so each thread keeps those it has made, by shape. A
// primitive splits its work among a number of threads fixed when it is made; that number is part of the key.
#include <omp.h>

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <mutex>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"
#include "kernels/epilogue.hpp"
#include "kernels/packed_weights.hpp"

namespace clip::kernels::cpu {
namespace onednn {

using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

template <class T>
inline constexpr auto type_of = dnnl::memory::data_type::f32;
template <>
inline constexpr auto type_of<bf16> = dnnl::memory::data_type::bf16;

const dnnl::engine& engine();
/// This thread's stream. What it is given has finished when the call returns.
dnnl::stream& stream();
/// Whether oneDNN has bf16 kernels for this CPU.
bool computes_bf16();

/// `bias` is an argument of the primitive, the rest of an epilogue are its attributes.
dnnl::primitive_attr attributes(bool accumulate, Activation activation);

/// The description of a primitive from the arguments both versions share.
template <class Primitive, class... Args>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attr, const Args&... args) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine(), args..., attr);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(args...), attr, engine());
#endif
}
/// The same of a backward primitive, which wants to see the forward one's.
template <class Primitive, class Forward, class... Args>
typename Primitive::primitive_desc describe_backward(const Forward& forward, const Args&... args) {
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine(), args..., forward);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(args...), engine(), forward);
#endif
}

/// What a primitive reads or writes: plain memory, null for an absent argument; or memory in a layout of oneDNN's.
struct Operand {
  Operand(const void* plain) : data(const_cast<void*>(plain)) {}
  Operand(const dnnl::memory& prepared) : memory(prepared.get()) {}
  void* data = nullptr;
  dnnl_memory_t memory = nullptr;
};

/// A primitive ready to run on any operands of its shapes.
class Call {
 public:
  struct Argument {
    int name;
    Desc desc;  // empty where the argument is absent
  };
  Call() = default;
  Call(dnnl::primitive primitive, std::initializer_list<Argument> arguments);
  /// Operands in the order of the arguments.
  void operator()(std::initializer_list<Operand> operands);

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;  // of those present
};

/// A copy from one layout (and type) to another.
Call reorder(const Desc& from, const Desc& to);

/// Shape, type and flags of a primitive; the last element is for the number of threads.
using Key = std::array<std::int64_t, 16>;
struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t h = 0;
    for (const std::int64_t part : key) h = (h ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
    return h;
  }
};

/// This thread's entry for `key`, from `make()` when there is none. Valid until the next call for the same Entry.
template <class Entry, class Make>
Entry& cached(Key key, const Make& make) {
  constexpr std::size_t limit = 512;  // oneDNN's own cache is behind this one
  thread_local std::unordered_map<Key, Entry, KeyHash> entries;
  key.back() = omp_get_max_threads();
  if (const auto found = entries.find(key); found != entries.end()) return found->second;
  if (entries.size() >= limit) entries.clear();
  return entries.emplace(key, make()).first->second;
}

/// Inside a parallel region, where a team of more than one cannot be had, primitives are made and run for one thread.
class ThreadScope {
 public:
  ThreadScope() : before_(omp_get_max_threads()) {
    if (omp_in_parallel()) omp_set_num_threads(1);
  }
  ~ThreadScope() {
    if (omp_in_parallel()) omp_set_num_threads(before_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

/// Runs `f`, whose failures in oneDNN become `Error`s of `op`.
template <class F>
void guarded(const char* op, const F& f) {
  try {
    const ThreadScope threads;
    f();
  } catch (const dnnl::error& error) {
    fail(op, "expected oneDNN to succeed, got status ", static_cast<int>(error.status), ": ", error.what());
  } catch (const std::bad_alloc&) {
    fail(op, "expected memory for oneDNN, got none");
  }
}

/// Aligned memory that a kernel or cache owns. Throws with the number of bytes when there is not enough.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : data_(Device().allocate(bytes)), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Device().release(data_, bytes_);
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Memory of this thread for a layout that lives during one kernel call; valid until the next call.
void* scratch(std::size_t bytes);

/// bf16 operands in f32, for CPUs without bf16 arithmetic.
class Floats {
 public:
  Floats(const bf16* values, std::int64_t n);  // null stays null
  explicit Floats(std::int64_t n) : buffer_(static_cast<std::size_t>(n) * sizeof(float)) {}
  float* data() const { return static_cast<float*>(buffer_.data()); }
  void store(bf16* values, std::int64_t n) const;

 private:
  Buffer buffer_;
};

}  // namespace onednn

class PackedWeights {
 public:
  /// The weights at `data` in the layout `wanted`. They are as `plain` says, but bf16 where `converted`.
  dnnl::memory get(const void* data, bool converted, const onednn::Desc& plain, const onednn::Desc& wanted);
  /// Something else made of the weights at `data`, which `make` writes to memory as `wanted` describes.
  dnnl::memory get(const void* data, const onednn::Desc& wanted, const std::function<void(void*)>& make);

 private:
  struct Entry {
    const void* data;
    onednn::Desc plain, wanted;  // `plain` is empty for something else
    onednn::Buffer buffer;
    dnnl::memory packed;
  };
  dnnl::memory find_or_make(const void* data, const onednn::Desc& plain, const onednn::Desc& wanted,
                            const std::function<void(void*)>& make);
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace clip::kernels::cpu
