#!/usr/bin/env bash
# House-keeping: include layers, the umbrella header, bounds of kernels, formatting, headers that compile alone, clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."
llvm=14  # other versions format and warn differently, so only this one decides

# Prints the name of an LLVM tool of that version; fails, and says so, when there is none.
tool() {
  local name
  for name in "$1-$llvm" "$1"; do
    if command -v "$name" >/dev/null && "$name" --version 2>/dev/null | grep -q "version $llvm\."; then
      echo "$name"
      return
    fi
  done
  echo "check: no $1 of version $llvm here: skipped" >&2
  return 1
}

echo "check: include layers and the umbrella header"
scripts/check_layers.sh --self-test
scripts/check_layers.sh
scripts/umbrella.sh --check

echo "check: kernels say how many threads they have, so that compilers leave each enough registers"
if git grep -n '__global__ void' -- kernels | grep -v '__launch_bounds__'; then
  echo "check: expected __launch_bounds__ on the same line" >&2
  exit 1
fi

echo "check: kernels call nothing of <bit> that only the host has, of which nvcc would leave a constant"
if git grep -nE 'std::(count[lr]_|popcount|bit_width|bit_ceil|bit_floor|has_single_bit|rot[lr])' -- 'kernels/*.cu' \
  'kernels/device' ':!kernels/device/workspace.cuh'; then
  echo "check: expected CUDA's own, such as __clz and __popc" >&2
  exit 1
fi

if format=$(tool clang-format); then
  echo "check: formatting"
  git ls-files '*.hpp' '*.cpp' '*.cuh' '*.cu' | xargs "$format" --dry-run -Werror
fi

echo "check: every header compiles alone"
cmake --preset release > /dev/null
cmake --build build/release --target clipcore header_check  # which has those that no source includes first

if tidy=$(tool clang-tidy); then
  echo "check: clang-tidy"
  sed -n 's/^ *"file": "\(.*\.cpp\)",\?$/\1/p' build/release/compile_commands.json |
    grep -F -e "$PWD/src/" -e "$PWD/kernels/" |
    xargs -P "$(nproc)" -n 1 "$tidy" -quiet -p build/release 2>&1 | sed '/ warnings\? generated/d'
fi
