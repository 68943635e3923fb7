#include "kernels/cpu/onednn.hpp"

#include "kernels/cast.hpp"

namespace clip::kernels::cpu {
namespace onednn {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream in_order(engine());
  return in_order;
}

bool computes_bf16() {
  static const bool found = [] {
    try {
      const Desc square({16, 16}, type_of<bf16>, Tag::ab);
      describe<dnnl::matmul>({}, square, square, square);
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return found;
}

dnnl::primitive_attr attributes(bool accumulate, Activation activation) {
  using dnnl::algorithm;
  dnnl::post_ops ops;
  if (accumulate) ops.append_sum(1.0f);
  const auto append = [&](algorithm f, float alpha = 0) {
#if DNNL_VERSION_MAJOR >= 3
    ops.append_eltwise(f, alpha, 0);
#else
    ops.append_eltwise(1, f, alpha, 0);
#endif
  };
  switch (activation) {
    case Activation::none: break;
    case Activation::relu: append(algorithm::eltwise_relu); break;
    case Activation::sigmoid: append(algorithm::eltwise_logistic); break;
    case Activation::tanh: append(algorithm::eltwise_tanh); break;
    case Activation::gelu: append(algorithm::eltwise_gelu_erf); break;
    case Activation::gelu_tanh: append(algorithm::eltwise_gelu_tanh); break;
    case Activation::quick_gelu: append(algorithm::eltwise_swish, 1.702f); break;
  }
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  return attr;
}

Call::Call(dnnl::primitive primitive, std::initializer_list<Argument> arguments) : primitive_(std::move(primitive)) {
  for (const Argument& argument : arguments) {
    if (argument.desc.get_size() == 0) continue;
    memories_.emplace_back(argument.desc, engine(), nullptr);
    arguments_.push_back({argument.name, memories_.back().get()});
  }
}

void Call::operator()(std::initializer_list<Operand> operands) {
  std::size_t i = 0;
  for (const Operand& operand : operands) {
    if (operand.memory == nullptr && operand.data == nullptr) continue;
    dnnl_exec_arg_t& argument = arguments_[i];
    argument.memory = operand.memory != nullptr ? operand.memory : memories_[i].get();
    if (operand.memory == nullptr)
      dnnl::error::wrap_c_api(dnnl_memory_set_data_handle(argument.memory, operand.data), "could not set an argument");
    ++i;
  }
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(primitive_.get(), stream().get(), static_cast<int>(arguments_.size()), arguments_.data()),
      "could not execute a primitive");
}

Call reorder(const Desc& from, const Desc& to) {
  const dnnl::reorder::primitive_desc desc(engine(), from, engine(), to);
  return Call(dnnl::reorder(desc), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void* scratch(std::size_t bytes) {
  thread_local Buffer buffer;
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    buffer = Buffer(bytes);
  }
  return buffer.data();
}

Floats::Floats(const bf16* values, std::int64_t n) {
  if (values == nullptr) return;
  buffer_ = Buffer(static_cast<std::size_t>(n) * sizeof(float));
  cast(buffer_.data(), dtype::f32, values, dtype::bf16, n);
}

void Floats::store(bf16* values, std::int64_t n) const { cast(values, dtype::bf16, buffer_.data(), dtype::f32, n); }

}  // namespace onednn

dnnl::memory PackedWeights::find_or_make(const void* data, const onednn::Desc& plain, const onednn::Desc& wanted,
                                         const std::function<void(void*)>& make) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_)
    if (entry.data == data && entry.wanted == wanted && entry.plain == plain) return entry.packed;
  onednn::Buffer buffer(wanted.get_size());
  make(buffer.data());
  dnnl::memory packed(wanted, onednn::engine(), buffer.data());
  entries_.push_back({data, plain, wanted, std::move(buffer), packed});
  return packed;
}

dnnl::memory PackedWeights::get(const void* data, bool converted, const onednn::Desc& plain,
                                const onednn::Desc& wanted) {
  if (plain == wanted && !converted) return dnnl::memory(plain, onednn::engine(), const_cast<void*>(data));
  return find_or_make(data, plain, wanted, [&](void* packed) {
    const onednn::Floats floats(converted ? static_cast<const bf16*>(data) : nullptr,
                                static_cast<std::int64_t>(plain.get_size() / sizeof(float)));
    onednn::reorder(plain, wanted)({converted ? floats.data() : data, packed});
  });
}

dnnl::memory PackedWeights::get(const void* data, const onednn::Desc& wanted, const std::function<void(void*)>& make) {
  return find_or_make(data, {}, wanted, make);
}

std::shared_ptr<void> make_packed_weights() { return std::make_shared<PackedWeights>(); }

}  // namespace clip::kernels::cpu
