#!/usr/bin/env bash
# Lists registers, stack and shared memory of every CUDA kernel in a build (default: build/cuda), for each GPU generation
# compiled for. Fails where a kernel keeps something on a stack, which is in the GPU's memory: it has spilled registers.
set -euo pipefail
cd "$(dirname "$0")/.."
library=${1:-build/cuda}/libclipcore.a
PATH=$PATH:/usr/local/cuda/bin
for name in cuobjdump cu++filt; do
  command -v "$name" > /dev/null || { echo "kernel_resources: no $name on PATH: add the CUDA toolkit's bin" >&2; exit 1; }
done
[ -f "$library" ] || { echo "kernel_resources: no $library: run cmake --preset cuda and build it" >&2; exit 1; }

cuobjdump --dump-resource-usage "$library" | cu++filt | awk '
  /^arch = / { arch = $3 }
  /^ *Function / {
    name = $0
    sub(/^ *Function /, "", name)
    gsub(/clip::kernels::cuda::|_GLOBAL__N__[0-9A-Za-z_]*::|<unnamed>::|\(anonymous namespace\)::/, "", name)
    sub(/\(.*/, "", name)
    sub(/:$/, "", name)
  }
  /REG:/ {
    split("", value)
    for (i = 1; i <= NF; ++i) { split($i, pair, ":"); value[pair[1]] = pair[2] }
    bad = value["STACK"] > 0 || value["LOCAL"] > 0
    failed = failed || bad
    printf "%-7s %4d registers %5d stack %6d shared  %s%s\n", arch, value["REG"], value["STACK"], value["SHARED"], name, bad ? "  SPILLS" : ""
  }
  END { exit failed }'
