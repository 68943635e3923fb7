#!/usr/bin/env bash
# Lists registers, stack and shared memory of every CUDA kernel, as the compiler reports them, for one GPU generation
# (default 90a). Shared memory that is asked for at the launch is not in it: ours all is. Fails where a kernel keeps
# registers on a stack, which is in the GPU's memory.
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
    sub(/. for .sm_.*/, "", name)
    at = length(name)
    for (open = 0; at > 0; --at) {  # back to where the parameters begin
      c = substr(name, at, 1)
      open += (c == ")") - (c == "(")
      if (c == "(" && open == 0) break
    }
    name = substr(name, 1, at - 1)
  }
  /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
  /Used [0-9]+ registers/ {
    shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART) : 0
    failed = failed || spilled > 0
    match($0, /Used [0-9]+/)
    printf "%4d registers %5d bytes of stack %6d of shared memory  %s%s\n", substr($0, RSTART + 5, RLENGTH - 5), stack, shared, name, (spilled > 0 ? "  SPILLS" : "")
  }
  /error|fatal/ { print; failed = 1 }
  END { exit failed }'
