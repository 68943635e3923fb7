#!/usr/bin/env bash
# Lists registers and stack of every CUDA kernel, as the compiler reports them, for one GPU generation (default 90a).
# Fails where a kernel keeps registers on a stack, which is in the GPU's memory.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc > /dev/null || { echo "kernel_resources: no nvcc on PATH: add the CUDA toolkit's bin" >&2; exit 1; }

for source in kernels/*_cuda.cu; do
  nvcc -std=c++20 --expt-relaxed-constexpr -O3 -Iinclude -I. -arch "sm_${1:-90a}" -cubin -o /dev/null -Xptxas -v "$source" 2>&1
done | c++filt | awk '
  /Compiling entry function/ {
    name = $0
    sub(/.*entry function ./, "", name)
    gsub(/clip::kernels::cuda::|clip::|\(anonymous namespace\)::|^void /, "", name)
    sub(/\(.*/, "", name)
  }
  /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/)
    failed = failed || spilled > 0
    printf "%4d registers %5d bytes of stack  %s%s\n", substr($0, RSTART + 5, RLENGTH - 5), stack, name, (spilled > 0 ? "  SPILLS" : "")
  }
  /error/ { print; failed = 1 }
  END { exit failed }'
