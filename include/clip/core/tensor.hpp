#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"
#include "clip/core/shape.hpp"

namespace clip {

struct Node;

/// Reference-counted memory that tensors share.
class Storage : public std::enable_shared_from_this<Storage> {
 public:
  /// Throws when the device has not enough memory.
  Storage(std::size_t bytes, const Device& device) : device_(device), data_(device.allocate(bytes)), bytes_(bytes) {}
  ~Storage() { device_.release(data_, bytes_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const { return bytes_; }
  const Device& device() const { return device_; }
  /// Counts writes, so that autograd and caches notice them.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void changed() {
    version_.fetch_add(1, std::memory_order_relaxed);
    if (written_ != nullptr) [[unlikely]]
      written_->push_back(weak_from_this());
  }
  /// What `work`, which is called, writes to in this thread.
  static std::vector<std::weak_ptr<Storage>> written_by(const std::function<void()>& work);

  /// What a kernel derived from these bytes and keeps beside them (packed weights); made by `make`, anew after a write.
  std::shared_ptr<void> derived(std::shared_ptr<void> (*make)());

 private:
  Device device_;
  void* data_;
  std::size_t bytes_;
  std::atomic<std::uint64_t> version_{0};
  std::mutex derived_mutex_;
  std::shared_ptr<void> derived_;
  std::shared_ptr<void> (*derived_make_)() = nullptr;
  std::uint64_t derived_version_ = 0;
  static thread_local inline std::vector<std::weak_ptr<Storage>>* written_ = nullptr;
};

/// Numbers in nested braces: `{{1, 2}, {3, 4}}`. Every list on one level must have the same length.
class NestedList {
 public:
  NestedList(double value) : value_(value) {}
  NestedList(std::initializer_list<NestedList> items) : items_(items), is_list_(true) {}
  Shape shape() const;
  void flatten(std::vector<double>& out) const;

 private:
  double value_ = 0;
  std::vector<NestedList> items_;
  bool is_list_ = false;
};

/// A dense row-major array: a value that shares its storage with its copies. `reshape` and slices along dimension 0 are
/// free views on the same storage; every other op writes a new tensor. Default-constructed it is undefined, which
/// stands for "no tensor" in optional arguments.
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised elements. Throws when the device has not enough memory.
  explicit Tensor(const Shape& shape, clip::dtype type = dtype::f32, const Device& device = {});

  /// A tensor of the numbers given; `Tensor::of(3)` is a scalar. Throws on ragged lists, and on numbers that an integer
  /// dtype cannot hold. Numbers pass through double: integers beyond 2^53 come from `from`.
  static Tensor of(const NestedList& values, clip::dtype type = dtype::f32, const Device& device = {});
  /// A copy of `values`, whose element type decides the dtype. Throws unless there are `shape.numel()` of them.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, const Device& device = {});
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, const Device& device = {}) {
    return from(std::span<const T>(values), shape, device);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t shape(int dim) const { return shape_[dim]; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  clip::dtype dtype() const { return dtype_; }
  /// Throws when undefined.
  const Device& device() const {
    check(defined(), "tensor", "expected a defined tensor, got an undefined one");
    return storage_->device();
  }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  /// The elements in the device's memory. Throws unless T is the tensor's element type.
  template <class T>
  const T* data() const {
    expect_type(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  /// The same for writing; tells autograd and caches that the storage changed. They notice the call, not what is
  /// written through a pointer kept from before: take it anew for each batch of writes.
  template <class T>
  T* mutable_data() {
    expect_type(dtype_of<T>);
    return static_cast<T*>(mutable_raw());
  }
  const void* raw() const {
    check(defined(), "tensor", "expected a defined tensor, got an undefined one");
    return storage_->data() + offset_;
  }
  void* mutable_raw() {
    check(defined(), "tensor", "expected a defined tensor, got an undefined one");
    storage_->changed();
    return storage_->data() + offset_;
  }

  /// Copies the elements to the host. Throws unless T is the tensor's element type and `out` has as many.
  template <class T>
  void copy_to(std::span<T> out) const;
  /// The elements as a vector on the host. Throws unless T is the tensor's element type.
  template <class T = float>
  std::vector<T> to_vector() const;
  /// The one element of a tensor. Throws unless there is exactly one, of type T.
  template <class T = float>
  T item() const;
  /// Overwrites all elements, from the same dtype and shape, on any device. Throws on others.
  void copy_from(const Tensor& source);
  /// Sets all elements to `value`, converted to the tensor's dtype.
  void fill(double value);
  /// A tensor with its own storage, not recorded by autograd.
  Tensor clone() const;

  /// A view of `shape` that starts `first` elements after this tensor's first; not recorded by autograd: use `reshape`
  /// and `slice`. Throws when it does not fit.
  Tensor view(std::int64_t first, const Shape& shape) const;

  /// Makes this a leaf whose gradient `backward` accumulates, or, with false, a constant. Copies of the handle made
  /// afterwards share the gradient. Throws unless the dtype is f32 or bf16, and for the result of a recorded op.
  Tensor& requires_grad(bool required = true) &;
  Tensor requires_grad(bool required = true) && { return std::move(requires_grad(required)); }
  /// Whether autograd records what is computed from this tensor.
  bool needs_grad() const { return node_ != nullptr; }
  /// The gradient accumulated in a leaf; undefined when there is none yet. Throws unless the tensor is a leaf.
  const Tensor& grad() const;
  /// Forgets (or replaces) the accumulated gradient. Throws unless `grad` is undefined or has the leaf's shape, dtype
  /// and device.
  void set_grad(Tensor grad) const;
  /// The same elements without autograd's knowledge of them.
  Tensor detach() const {
    Tensor t = *this;
    t.node_ = nullptr;
    return t;
  }

  // For autograd and ops.
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  const std::shared_ptr<Node>& node() const { return node_; }
  void set_node(std::shared_ptr<Node> node) { node_ = std::move(node); }

 private:
  void expect_type(clip::dtype wanted) const {
    if (dtype_ != wanted) [[unlikely]]
      wrong_type(wanted);
  }
  [[noreturn]] void wrong_type(clip::dtype wanted) const;

  std::shared_ptr<Storage> storage_;
  std::shared_ptr<Node> node_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  clip::dtype dtype_ = dtype::f32;
};

/// What autograd knows of a tensor that needs a gradient: a leaf as it stands; `autograd.hpp` derives the recorded ops.
struct Node {
  explicit Node(const Tensor& of) : shape(of.shape()), type(of.dtype()), device(of.device()) {}
  virtual ~Node() = default;
  virtual bool is_leaf() const { return true; }

  /// Throws unless `gradient` has the shape, dtype and device of the tensor it belongs to.
  void check_gradient(const Tensor& gradient, const char* where) const;

  Shape shape;
  dtype type;
  Device device;
  Tensor grad;  // of a leaf: accumulated over calls of backward; of an op: pending while backward runs
};

inline Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }
Tensor full(const Shape& shape, double value, dtype type = dtype::f32, const Device& device = {});
inline Tensor zeros(const Shape& shape, dtype type = dtype::f32, const Device& device = {}) {
  return full(shape, 0, type, device);
}
inline Tensor ones(const Shape& shape, dtype type = dtype::f32, const Device& device = {}) {
  return full(shape, 1, type, device);
}

/// Prints dtype, shape and device, then the elements in nested brackets, long dimensions shortened to their ends.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace clip
