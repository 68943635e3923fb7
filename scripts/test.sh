#!/usr/bin/env bash
# Everything a change must pass: installs what is missing, checks, builds and tests in release; with Clang and its
# AddressSanitizer and UndefinedBehaviorSanitizer, fuzzing every parser for a short while; and, the tests of threads, with
# ThreadSanitizer. Where there is a CUDA toolkit, builds the library and the tests of kernels with it. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_SLOPPINESS=pch_defines,time_macros  # for the precompiled header
fi

summary=()
current=start
trap '[ $? -eq 0 ] || echo "FAILED: $current" >&2' EXIT

# step NAME COMMAND…: runs it, shows its output, and notes its time and what ctest concludes.
step() {
  current=$1
  local log start=$SECONDS
  log=$(mktemp)
  printf '\n== %s\n' "$1"
  "${@:2}" 2>&1 | tee "$log"
  summary+=("$(printf '%5d s  %-16s %s' $((SECONDS - start)) "$1" "$(grep 'tests passed' "$log" || true)")")
  rm "$log"
}

step setup          scripts/setup.sh
step model          scripts/get_minilm.sh
step checks         scripts/check.sh
for preset in release asan tsan; do
  step "$preset build" eval "cmake --preset $preset > /dev/null && cmake --build --preset $preset"
  step "$preset tests" ctest --preset "$preset"
done
if ! command -v nvcc >/dev/null; then
  summary+=("        cuda build: left out, there is no nvcc")
elif cmake --preset cuda -DCLIP_PROGRAMS=OFF -DCLIP_BENCH=OFF >/dev/null; then
  step "cuda build" cmake --build --preset cuda --target clipcore cuda_tests
else
  summary+=("        cuda build: left out, the toolkit is not complete (see above)")
fi

printf '\n== all passed in %d s\n' "$SECONDS"
printf '%s\n' "${summary[@]}"
