#include "kernels/cpu/parallel.hpp"

#include <cstdlib>
#include <string_view>

namespace clip::kernels::cpu {
namespace {

InstructionSet find_instruction_set() {
  const char* variable = std::getenv("CLIP_MAX_ISA");
  const std::string_view most = variable == nullptr ? "" : variable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && most != "avx2" && most != "baseline") return InstructionSet::avx512;
  if (avx2 && most != "baseline") return InstructionSet::avx2;
#endif
  return InstructionSet::baseline;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet found = find_instruction_set();
  return found;
}

}  // namespace clip::kernels::cpu
