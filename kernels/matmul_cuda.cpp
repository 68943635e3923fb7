// cuBLASLt counts along columns: to it our y [m, n] is an n x m matrix, and what it computes is y^T = op(b)^T op(a)^T,
// with b first. A bias for each column of y is then one for each row, which is what its epilogue has.
//
// Choosing an algorithm takes far longer than starting one, so what was chosen is kept, by shape, type, epilogue and
// the alignment of every operand. cuBLASLt ranks algorithms without running any: the choice is the same in every run.
#include "kernels/matmul.hpp"

#include <cublasLt.h>

#include <array>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "clip/core/error.hpp"
#include "kernels/device/workspace.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr const char* op = "matmul";

void call(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(op, "cuBLASLt, ", what, ": ", cublasLtGetStatusString(status));
}

template <class T>
constexpr cudaDataType type_of = dtype_of<T> == dtype::f32    ? CUDA_R_32F
                                 : dtype_of<T> == dtype::bf16 ? CUDA_R_16BF
                                                              : CUDA_R_16F;

/// cuBLASLt's epilogue for these, none where it lacks the activation. Its GELU is gelu_tanh, by a tanh that may be good
/// for 16 bits only.
std::optional<cublasLtEpilogue_t> epilogue_for(bool bias, Activation activation, bool f32) {
  switch (activation) {
    case Activation::none: return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    case Activation::relu: return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    case Activation::gelu_tanh:
      if (f32) return std::nullopt;
      return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    default: return std::nullopt;
  }
}

/// A product as cuBLASLt knows it. Its descriptors are plain memory.
struct Plan {
  cublasLtMatmulDescOpaque_t product;
  cublasLtMatrixLayoutOpaque_t a, b, y;
  cublasLtMatmulAlgo_t algorithm;
  std::size_t workspace;
  bool fused = false;  // with the epilogue

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    call(cublasLtMatmulDescSetAttribute(&product, attribute, &value, sizeof value), "describing a product");
  }
};

/// Matrices [rows, cols] as they lie in memory.
cublasLtMatrixLayoutOpaque_t layout(cudaDataType type, std::int64_t rows, std::int64_t cols, std::int64_t batch,
                                    bool shared) {
  cublasLtMatrixLayoutOpaque_t layout;
  call(
      cublasLtMatrixLayoutInit(&layout, type, static_cast<std::uint64_t>(cols), static_cast<std::uint64_t>(rows), cols),
      "describing a matrix");
  const auto set = [&](cublasLtMatrixLayoutAttribute_t attribute, const auto& value) {
    call(cublasLtMatrixLayoutSetAttribute(&layout, attribute, &value, sizeof value), "describing a batch");
  };
  set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
  set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, shared ? std::int64_t{0} : rows * cols);
  return layout;
}

}  // namespace

class MatmulPlans {
 public:
  explicit MatmulPlans(Stream stream) : stream_(stream), workspace_(stream) {
    call(cublasLtCreate(&handle_), "starting");
  }
  ~MatmulPlans() { cublasLtDestroy(handle_); }
  MatmulPlans(const MatmulPlans&) = delete;
  MatmulPlans& operator=(const MatmulPlans&) = delete;

  template <class Y, class T>
  void multiply(Y* y, const T* a, const T* b, const MatmulShape& s, const Epilogue<Y>& epilogue, float factor = 1) {
    if (s.k == 0) return epilogue_of_nothing(y, epilogue, s.batch * s.m, s.n, stream_, op);
    const std::lock_guard lock(mutex_);
    Plan& plan = plan_for(y, a, b, s, epilogue);
    if (plan.fused && epilogue.bias != nullptr) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, epilogue.bias);
    const float beta = epilogue.accumulate ? 1 : 0;
    call(cublasLtMatmul(handle_, &plan.product, &factor, b, &plan.b, a, &plan.a, &beta, y, &plan.y, y, &plan.y,
                        &plan.algorithm, workspace_.get(plan.workspace, op), plan.workspace, stream_),
         "multiplying");
    if (!plan.fused) apply_epilogue(y, epilogue.bias, epilogue.activation, s.batch * s.m, s.n, stream_);
  }

 private:
  using Key = std::array<std::int64_t, 16>;
  static constexpr std::size_t most_plans = 4096;                           // about a kilobyte each
  static constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;  // what NVIDIA advises for Hopper

  template <class Y, class T>
  Plan& plan_for(const Y* y, const T* a, const T* b, const MatmulShape& s, const Epilogue<Y>& epilogue) {
    const auto alignment = [](const auto* p) { return p == nullptr ? 0 : alignment_of(p); };
    const Key key{static_cast<std::int64_t>(dtype_of<T>),
                  static_cast<std::int64_t>(dtype_of<Y>),
                  s.batch,
                  s.m,
                  s.n,
                  s.k,
                  s.transpose_a,
                  s.transpose_b,
                  s.share_a,
                  s.share_b,
                  epilogue.accumulate,
                  static_cast<std::int64_t>(epilogue.activation),
                  alignment(y),
                  alignment(a),
                  alignment(b),
                  alignment(epilogue.bias)};
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    // The whole epilogue or, as what is left is one pass anyway, none of it. Some of cuBLASLt's kernels read a bias 16
    // bytes at a time without asking.
    const auto lt_epilogue = epilogue_for(epilogue.bias != nullptr, epilogue.activation, dtype_of<Y> == dtype::f32);
    std::optional<Plan> plan;
    if (lt_epilogue && (epilogue.bias == nullptr || alignment(epilogue.bias) >= 16))
      plan = make(y, a, b, s, *lt_epilogue, epilogue.bias);
    if (plan)
      plan->fused = true;
    else
      plan = make<Y>(y, a, b, s, CUBLASLT_EPILOGUE_DEFAULT, nullptr);
    if (!plan)
      fail(op, "expected cuBLASLt to have an algorithm for ", s.batch, " products ", s.m, " x ", s.k, " x ", s.n,
           " in ", dtype_of<T>, ", got none");
    if (plans_.size() >= most_plans) plans_.clear();
    return plans_.emplace(key, *plan).first->second;
  }

  /// None where cuBLASLt has no such product.
  template <class Y, class T>
  std::optional<Plan> make(const Y* y, const T* a, const T* b, const MatmulShape& s, cublasLtEpilogue_t epilogue,
                           const Y* bias) {
    check(s.batch <= std::numeric_limits<std::int32_t>::max(), op, "expected fewer than 2^31 matrices, got ", s.batch);
    constexpr auto type = type_of<T>;
    Plan plan{{},
              layout(type, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, s.batch, s.share_a),
              layout(type, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, s.batch, s.share_b),
              layout(type_of<Y>, s.m, s.n, s.batch, false),
              {},
              0};
    call(cublasLtMatmulDescInit(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    plan.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    plan.set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    plan.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(epilogue));
    if (bias != nullptr) {
      plan.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(type_of<Y>));
      plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);  // for its alignment
    }

    cublasLtMatmulPreferenceOpaque_t preference;
    call(cublasLtMatmulPreferenceInit(&preference), "describing preferences");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      call(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value),
           "describing preferences");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
    // parts of a sum are f32 until all are added
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(y));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(y));

    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, &plan.product, &plan.b, &plan.a, &plan.y,
                                                                 &plan.y, &preference, 1, &best, &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return std::nullopt;
    if (status == CUBLAS_STATUS_INVALID_VALUE && epilogue != CUBLASLT_EPILOGUE_DEFAULT)
      return std::nullopt;  // what it may also say of a combination that it lacks
    call(status, "choosing an algorithm");
    if (found == 0 || best.state != CUBLAS_STATUS_SUCCESS) return std::nullopt;
    plan.algorithm = best.algo;
    plan.workspace = best.workspaceSize;
    return plan;
  }

  Stream stream_;
  Workspace workspace_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, Plan> plans_;
  std::mutex mutex_;
};

std::shared_ptr<void> make_matmul_plans(void* stream) {
  return std::make_shared<MatmulPlans>(static_cast<Stream>(stream));
}

template <class T>
void matmul(T* y, const T* a, const T* b, const MatmulShape& s, const Epilogue<T>& epilogue, MatmulPlans& plans) {
  if (s.batch * s.m * s.n > 0) plans.multiply(y, a, b, s, epilogue);
}

template <class T>
void matmul_f32(float* y, const T* a, const T* b, const MatmulShape& s, float factor, bool accumulate,
                MatmulPlans& plans) {
  if (s.batch * s.m * s.n > 0) plans.multiply(y, a, b, s, Epilogue<float>{.accumulate = accumulate}, factor);
}

template void matmul(float*, const float*, const float*, const MatmulShape&, const Epilogue<float>&, MatmulPlans&);
template void matmul(bf16*, const bf16*, const bf16*, const MatmulShape&, const Epilogue<bf16>&, MatmulPlans&);
template void matmul(f16*, const f16*, const f16*, const MatmulShape&, const Epilogue<f16>&, MatmulPlans&);
template void matmul_f32(float*, const bf16*, const bf16*, const MatmulShape&, float, bool, MatmulPlans&);
template void matmul_f32(float*, const f16*, const f16*, const MatmulShape&, float, bool, MatmulPlans&);

}  // namespace clip::kernels::cuda
