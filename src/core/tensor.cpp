#include "clip/core/tensor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <type_traits>
#include <utility>

namespace clip {
namespace {

/// Calls `f.operator()<T>()` with the element type of `type`.
template <class F>
decltype(auto) for_type(dtype type, F&& f) {
  switch (type) {
    case dtype::f32: return f.template operator()<float>();
    case dtype::bf16: return f.template operator()<bf16>();
    case dtype::f16: return f.template operator()<f16>();
    case dtype::i32: return f.template operator()<std::int32_t>();
    case dtype::i64: return f.template operator()<std::int64_t>();
    case dtype::u8: break;
  }
  return f.template operator()<std::uint8_t>();
}

template <class T>
T element(double value) {
  if constexpr (std::is_integral_v<T>) {
    const bool fits = value >= static_cast<double>(std::numeric_limits<T>::min()) &&
                      value < static_cast<double>(std::numeric_limits<T>::max()) + 1.0 && value == std::trunc(value);
    check(fits, "tensor", "expected a number that fits ", dtype_of<T>, ", got ", value);
    return static_cast<T>(value);
  } else {
    return T(static_cast<float>(value));
  }
}

}  // namespace

std::shared_ptr<void> Storage::derived(std::shared_ptr<void> (*make)()) {
  const std::lock_guard lock(derived_mutex_);
  if (derived_make_ != make || derived_version_ != version()) {
    derived_ = make();
    derived_make_ = make;
    derived_version_ = version();
  }
  return derived_;
}

std::vector<std::weak_ptr<Storage>> Storage::written_by(const std::function<void()>& work) {
  struct Noting {  // until `work` returns or throws
    std::vector<std::weak_ptr<Storage>> storages, *outer = std::exchange(written_, &storages);
    ~Noting() { written_ = outer; }
  } noting;
  work();
  return std::move(noting.storages);
}

Shape NestedList::shape() const {
  if (!is_list_) return {};
  const Shape inner = items_.empty() ? Shape{} : items_.front().shape();
  for (const NestedList& item : items_)
    check(item.shape() == inner, "tensor", "expected lists of equal shape, got ", inner, " and ", item.shape());
  return inner.inserted(0, static_cast<std::int64_t>(items_.size()));
}

void NestedList::flatten(std::vector<double>& out) const {
  if (!is_list_) out.push_back(value_);
  for (const NestedList& item : items_) item.flatten(out);
}

Tensor::Tensor(const Shape& shape, clip::dtype type, const Device& device) : shape_(shape), dtype_(type) {
  std::int64_t bytes = 0;
  const bool overflow = __builtin_mul_overflow(shape.numel(), static_cast<std::int64_t>(size_of(type)), &bytes);
  check(!overflow, "tensor", "expected fewer than 2^63 bytes, got ", type, ' ', shape);
  storage_ = std::make_shared<Storage>(static_cast<std::size_t>(bytes), device);
}

Tensor Tensor::of(const NestedList& values, clip::dtype type, const Device& device) {
  std::vector<double> flat;
  const Shape shape = values.shape();
  values.flatten(flat);
  return for_type(type, [&]<class T>() {
    std::vector<T> elements(flat.size());
    std::transform(flat.begin(), flat.end(), elements.begin(), element<T>);
    return from(elements, shape, device);
  });
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, const Device& device) {
  check(static_cast<std::int64_t>(values.size()) == shape.numel(), "tensor", "expected ", shape.numel(),
        " values for shape ", shape, ", got ", values.size());
  Tensor t(shape, dtype_of<T>, device);
  copy_bytes(t.mutable_raw(), device, values.data(), Device::cpu(), t.bytes());
  return t;
}

template <class T>
void Tensor::copy_to(std::span<T> out) const {
  check(static_cast<std::int64_t>(out.size()) == numel(), "copy_to", "expected room for ", numel(), " elements, got ",
        out.size());
  copy_bytes(out.data(), Device::cpu(), data<T>(), device(), bytes());
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  std::vector<T> values(static_cast<std::size_t>(numel()));
  copy_to(std::span<T>(values));
  return values;
}

template <class T>
T Tensor::item() const {
  check(numel() == 1, "item", "expected a tensor of one element, got shape ", shape_);
  T value;
  copy_bytes(&value, Device::cpu(), data<T>(), device(), sizeof(T));
  return value;
}

template Tensor Tensor::from(std::span<const float>, const Shape&, const Device&);
template Tensor Tensor::from(std::span<const bf16>, const Shape&, const Device&);
template Tensor Tensor::from(std::span<const f16>, const Shape&, const Device&);
template Tensor Tensor::from(std::span<const std::int32_t>, const Shape&, const Device&);
template Tensor Tensor::from(std::span<const std::int64_t>, const Shape&, const Device&);
template Tensor Tensor::from(std::span<const std::uint8_t>, const Shape&, const Device&);
template void Tensor::copy_to(std::span<float>) const;
template std::vector<float> Tensor::to_vector() const;
template void Tensor::copy_to(std::span<bf16>) const;
template std::vector<bf16> Tensor::to_vector() const;
template void Tensor::copy_to(std::span<f16>) const;
template std::vector<f16> Tensor::to_vector() const;
template void Tensor::copy_to(std::span<std::int32_t>) const;
template std::vector<std::int32_t> Tensor::to_vector() const;
template void Tensor::copy_to(std::span<std::int64_t>) const;
template std::vector<std::int64_t> Tensor::to_vector() const;
template void Tensor::copy_to(std::span<std::uint8_t>) const;
template std::vector<std::uint8_t> Tensor::to_vector() const;
template float Tensor::item() const;
template bf16 Tensor::item() const;
template f16 Tensor::item() const;
template std::int32_t Tensor::item() const;
template std::int64_t Tensor::item() const;
template std::uint8_t Tensor::item() const;

void Tensor::copy_from(const Tensor& source) {
  check(source.shape() == shape_ && source.dtype() == dtype_, "copy_from", "expected ", dtype_, ' ', shape_, ", got ",
        source.dtype(), ' ', source.shape());
  copy_bytes(mutable_raw(), device(), source.raw(), source.device(), bytes());
}

void Tensor::fill(double value) {
  for_type(dtype_, [&]<class T>() {
    const T converted = element<T>(value);
    T* out = mutable_data<T>();
    const std::int64_t n = numel();
    if (device().is_cuda()) return device().fill(out, &converted, sizeof(T), n);
#pragma omp parallel for if (n >= 1 << 18)
    for (std::int64_t i = 0; i < n; ++i) out[i] = converted;
  });
}

Tensor Tensor::clone() const {
  Tensor t(shape_, dtype_, device());
  t.copy_from(*this);
  return t;
}

Tensor Tensor::view(std::int64_t first, const Shape& shape) const {
  check(first >= 0 && first <= numel() && shape.numel() <= numel() - first, "view", "expected a part of ", shape_,
        ", got ", shape, " from element ", first);
  Tensor t = detach();
  t.offset_ += static_cast<std::size_t>(first) * size_of(dtype_);
  t.shape_ = shape;
  return t;
}

Tensor& Tensor::requires_grad(bool required) & {
  check(defined(), "requires_grad", "expected a defined tensor, got an undefined one");
  check(dtype_ == dtype::f32 || dtype_ == dtype::bf16, "requires_grad", "expected f32 or bf16, got ", dtype_);
  check(!needs_grad() || node_->is_leaf(), "requires_grad",
        "expected a leaf, got the result of an op: detach it first");
  if (!required) node_ = nullptr;
  if (required && !needs_grad()) node_ = std::make_shared<Node>(*this);
  return *this;
}

const Tensor& Tensor::grad() const {
  check(needs_grad() && node_->is_leaf(), "grad", "expected a tensor made with requires_grad(), got ",
        needs_grad() ? "the result of an op" : "a constant");
  return node_->grad;
}

void Tensor::set_grad(Tensor grad) const {
  check(needs_grad() && node_->is_leaf(), "set_grad", "expected a tensor made with requires_grad(), got ",
        needs_grad() ? "the result of an op" : "a constant");
  if (grad.defined()) node_->check_gradient(grad, "set_grad");
  node_->grad = std::move(grad);
}

void Node::check_gradient(const Tensor& gradient, const char* where) const {
  check(gradient.shape() == shape && gradient.dtype() == type && gradient.device() == device, where,
        "expected a gradient ", type, ' ', shape, " on ", device, ", got ", gradient.dtype(), ' ', gradient.shape(),
        " on ", gradient.device());
}

void Tensor::wrong_type(clip::dtype wanted) const { fail("data", "expected ", dtype_, " elements, got ", wanted); }

Tensor full(const Shape& shape, double value, dtype type, const Device& device) {
  Tensor t(shape, type, device);
  t.fill(value);
  return t;
}

namespace {

constexpr std::int64_t shown_ends = 3;  // elements shown at each end of a shortened dimension

template <class T>
void print_elements(std::ostream& out, const T* values, const Shape& shape, int dim, std::int64_t stride) {
  if (dim == shape.rank()) {
    if constexpr (std::is_integral_v<T>)
      out << std::int64_t{*values};
    else
      out << static_cast<float>(*values);
    return;
  }
  const std::int64_t extent = shape[dim];
  const std::int64_t inner = extent == 0 ? 0 : stride / extent;
  const bool lines = dim + 1 < shape.rank();
  out << '[';
  for (std::int64_t i = 0; i < extent; ++i) {
    if (i > 0) out << (lines ? ",\n" + std::string(static_cast<std::size_t>(dim) + 1, ' ') : ", ");
    if (extent > 2 * shown_ends + 2 && i == shown_ends) {
      out << "...";
      i = extent - shown_ends - 1;
      continue;
    }
    print_elements(out, values + i * inner, shape, dim + 1, inner);
  }
  out << ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor.defined()) return out << "undefined tensor";
  out << tensor.dtype() << ' ' << tensor.shape() << " on " << tensor.device() << '\n';
  for_type(tensor.dtype(), [&]<class T>() {
    const std::vector<T> values = tensor.to_vector<T>();
    print_elements(out, values.data(), tensor.shape(), 0, tensor.numel());
  });
  return out;
}

}  // namespace clip
