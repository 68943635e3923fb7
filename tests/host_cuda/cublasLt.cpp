#include "tests/host_cuda/cublasLt.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "tests/host_cuda/elements.hpp"

namespace {

using namespace clip;
using Layout = cublasLtMatrixLayoutOpaque_t;

dtype type_of(cudaDataType type) {
  return type == CUDA_R_32F ? dtype::f32 : type == CUDA_R_16BF ? dtype::bf16 : dtype::f16;
}

/// Copies the value of an attribute to where it is kept, if it has the right size.
template <class T>
cublasStatus_t keep(T& kept, const void* value, std::size_t bytes) {
  if (bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&kept, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

std::uint32_t alignment_of(const void* p) {
  std::uint32_t alignment = 1;
  while (alignment < 256 && reinterpret_cast<std::uintptr_t>(p) % (2 * alignment) == 0) alignment *= 2;
  return alignment;
}

/// op(matrix) number `batch`, row after row.
std::vector<double> rows_of(const void* data, const Layout& m, std::int64_t batch, bool transposed) {
  const auto rows = static_cast<std::int64_t>(m.rows), cols = static_cast<std::int64_t>(m.cols);
  std::vector<double> all(static_cast<std::size_t>(rows * cols));
  for (std::int64_t c = 0; c < cols; ++c)
    for (std::int64_t r = 0; r < rows; ++r)
      all[static_cast<std::size_t>(transposed ? c * rows + r : r * cols + c)] =
          host_cuda::read(data, type_of(m.type), batch * m.batch_stride + c * m.ld + r);
  return all;
}

double activated(double x, std::uint32_t epilogue) {
  if ((epilogue & CUBLASLT_EPILOGUE_RELU) != 0) return std::max(x, 0.0);
  if ((epilogue & CUBLASLT_EPILOGUE_GELU) != 0)
    return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  return x;
}

double factor(const void* p) { return static_cast<double>(*static_cast<const float*>(p)); }

void multiply(const cublasLtMatmulDescOpaque_t& product, double scale, const void* a_data, const Layout& a,
              const void* b_data, const Layout& b, double before, const void* c_data, void* d_data, const Layout& d) {
  const bool bias = (product.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  const dtype type = type_of(d.type);
  const bool ta = product.transpose_a == CUBLAS_OP_T, tb = product.transpose_b == CUBLAS_OP_T;
  const auto m = static_cast<std::int64_t>(d.rows), n = static_cast<std::int64_t>(d.cols);
  const auto k = static_cast<std::int64_t>(ta ? a.rows : a.cols);
  std::vector<double> left, right, sums(static_cast<std::size_t>(n));
  for (std::int64_t l = 0; l < d.batch; ++l) {
    if (l == 0 || a.batch_stride != 0) left = rows_of(a_data, a, l, ta);
    if (l == 0 || b.batch_stride != 0) right = rows_of(b_data, b, l, tb);
    for (std::int64_t i = 0; i < m; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t p = 0; p < k; ++p)
        host_cuda::add_row(sums.data(), left[static_cast<std::size_t>(i * k + p)], right.data() + p * n, n);
      for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t at = l * d.batch_stride + j * d.ld + i;
        double value = scale * sums[static_cast<std::size_t>(j)];
        if (before != 0) value += before * host_cuda::read(c_data, type, at);
        if (bias) value += host_cuda::read(product.bias, type, i);
        host_cuda::write(d_data, type, at, activated(value, product.epilogue));
      }
    }
  }
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS         ? "success"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
                                                 : "invalid value";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatrixLayoutInit(Layout* layout, cudaDataType type, std::uint64_t rows, std::uint64_t cols,
                                        std::int64_t ld) {
  *layout = {type, rows, cols, ld, 0, 1};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(Layout* layout, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, std::size_t bytes) {
  return attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? keep(layout->batch, value, bytes)
                                                         : keep(layout->batch_stride, value, bytes);
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDescOpaque_t* product, cublasComputeType_t compute,
                                      cudaDataType scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
    return CUBLAS_STATUS_INVALID_VALUE;  // others are less exact
  *product = {CUBLAS_OP_N, CUBLAS_OP_N, -1, CUBLASLT_EPILOGUE_DEFAULT, nullptr};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDescOpaque_t* product,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return keep(product->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return keep(product->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return keep(product->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return keep(product->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return keep(product->bias_type, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreferenceOpaque_t* preference) {
  *preference = {0, CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreferenceOpaque_t* preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return keep(preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return keep(preference->reductions, value, bytes);
    default: return keep(preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, const cublasLtMatmulDescOpaque_t* product,
                                              const Layout* a, const Layout* b, const Layout* c, const Layout* d,
                                              const cublasLtMatmulPreferenceOpaque_t* preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  const bool ta = product->transpose_a == CUBLAS_OP_T, tb = product->transpose_b == CUBLAS_OP_T;
  const std::uint64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols;
  const std::uint64_t n = tb ? b->rows : b->cols, b_k = tb ? b->cols : b->rows;
  bool fits = wanted > 0 && k == b_k && k > 0 && d->rows == m && d->cols == n && *c == *d;
  fits = fits && a->type == b->type && (d->type == a->type || d->type == CUDA_R_32F);
  for (const Layout* each : {a, b, d})
    fits = fits && each->batch == d->batch && each->rows > 0 && each->cols > 0 &&
           each->ld >= static_cast<std::int64_t>(each->rows);
  const bool bias = (product->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  if (!fits || (bias && (product->bias == nullptr || product->bias_type != static_cast<std::int32_t>(d->type))))
    return CUBLAS_STATUS_INVALID_VALUE;
  *found = 0;
  if ((product->epilogue & CUBLASLT_EPILOGUE_GELU) != 0 && m % 8 != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  const std::size_t workspace = std::min<std::uint64_t>(preference->workspace, 100 * m);
  *results = {{*a, *b, *d, product->epilogue, {}, bias ? alignment_of(product->bias) : 1, workspace},
              workspace,
              CUBLAS_STATUS_SUCCESS};
  std::copy_n(preference->alignment, 4, results->algo.alignment);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, const cublasLtMatmulDescOpaque_t* product, const void* alpha,
                              const void* a_data, const Layout* a, const void* b_data, const Layout* b,
                              const void* beta, const void* c_data, const Layout* c, void* d_data, const Layout* d,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  const bool bias = (product->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  bool planned = algorithm->a == *a && algorithm->b == *b && algorithm->d == *d && *c == *d &&
                 algorithm->epilogue == product->epilogue && algorithm->workspace <= workspace_bytes &&
                 (!bias || alignment_of(product->bias) >= std::max(algorithm->bias_alignment, 16u));
  const void* const operands[] = {a_data, b_data, c_data, d_data};
  for (std::size_t i = 0; i < 4; ++i) planned = planned && alignment_of(operands[i]) >= algorithm->alignment[i];
  if (!planned) return CUBLAS_STATUS_INVALID_VALUE;
  host_cuda::submit(stream, [=, product = *product, a = *a, b = *b, d = *d, used = algorithm->workspace,
                             scale = factor(alpha), before = factor(beta)] {
    if (used > 0) std::memset(workspace, 0xff, used);
    multiply(product, scale, a_data, a, b_data, b, before, c_data, d_data, d);
  });
  return CUBLAS_STATUS_SUCCESS;
}
