#!/usr/bin/env bash
# Checks who includes whom: a folder may include itself and the layers above it (docs/architecture.md). With --self-test,
# checks that it sees violations.
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints a line for each include that breaks a rule, and fails if there is one. Reads the current folder.
check() {
  find . -regextype egrep -regex '\./(include|src|kernels|tests|bench|examples|tools)/.*\.(hpp|cpp|cuh|cu)' -printf '%P\n' |
    LC_ALL=C sort | xargs -r awk '
    BEGIN {
      # Folders with their layers; those of one layer do not include each other.
      split("core 0 kernels 1 autograd 2 ops 3 io 4 text 5 image 5 nn 5 models 6 data 7 train 7 retrieval 7 " \
            "examples 8 tools 9 tests 10 bench 10", words, " ")
      for (i = 1; i in words; i += 2) layer[words[i]] = words[i + 1]
    }
    # The folder of the table a path belongs to: include/clip/ops/x.hpp, clip/ops/x.hpp and src/ops/x.cpp are ops.
    function folder_of(path) {
      sub(/^(include\/)?clip\//, "", path)
      sub(/^src\//, "", path)
      sub(/[.\/].*/, "", path)
      return path == "dispatch" ? "autograd" : path
    }
    function bad(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, why, $0; failed = 1 }
    FNR == 1 {
      public = FILENAME ~ /^include\//
      from = folder_of(FILENAME)
      umbrella = FILENAME == "include/clip/clip.hpp"
      if (!(from in layer) && !umbrella) bad("a folder without a layer: add it to the table")
    }
    /^[ \t]*#[ \t]*include/ && !umbrella {
      name = $0
      sub(/^[^"<]*["<]/, "", name)
      sub(/[">].*/, "", name)
      if ($0 !~ /"/ && name !~ /^clip\//) {  # not ours
        if (public && name ~ /[.\/]/) bad("a public header includes the standard library only")
        next
      }
      if (FILENAME ~ /^tests\/consumer\//) next  # a user of the library
      if ($0 !~ /"/) { bad("headers of the repository are included in quotes"); next }
      if (name == "clip/clip.hpp") { bad("the umbrella is for users"); next }
      if (name !~ /^(clip|src|kernels|tests|bench|examples|tools)\//) { bad("not a path from the root or include/"); next }
      to = folder_of(name)
      if (!(to in layer)) { bad("a folder without a layer"); next }
      if (name ~ /^clip\/kernels\//) bad("kernel headers are kernels/... inside the repository")
      if (public && name !~ /^clip\//) bad("a public header includes public headers only")
      if (from == to) {
        if (FILENAME ~ /^kernels\/[^\/]*\.hpp$/ && name ~ /^kernels\/.*\//) bad("a kernel interface includes what is not installed")
        next
      }
      if (layer[to] >= layer[from]) bad(from " may not include " to)
      if (from == "kernels" && name ~ /^clip\/core\/(tensor|random)\.hpp$/) bad("kernels know no Tensor")
    }
    END { exit failed }'
}

self_test() {
  local folder failures=0
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' RETURN
  cd "$folder"
  plant() { mkdir -p "$(dirname "$1")"; printf '#pragma once\n%s\n' "$2" > "$1"; }
  expect() {  # good|bad, a file, its include
    plant "$2" "$3"
    if { [ "$1" = good ] && ! check; } || { [ "$1" = bad ] && check > /dev/null; }; then
      echo "check_layers.sh --self-test: expected this to be $1: $2 with $3" >&2
      failures=1
    fi
    rm "$2"
  }
  expect good include/clip/core/tensor.hpp  '#include <vector>'
  expect good src/core/device.cpp           '#include <omp.h>'
  expect good src/core/device.cpp           '#include "src/core/cuda_context.hpp"'
  expect good kernels/softmax.hpp           '#include "clip/core/dtype.hpp"'
  expect good kernels/matmul.hpp            '#include "kernels/epilogue.hpp"'
  expect good kernels/softmax_cpu.cpp       '#include "kernels/cpu/math.hpp"'
  expect good src/autograd.cpp              '#include "kernels/arithmetic.hpp"'
  expect good src/ops/softmax.cpp           '#include "src/dispatch.hpp"'
  expect good src/ops/softmax.cpp           '#include "kernels/softmax.hpp"'
  expect good include/clip/nn/linear.hpp    '#include "clip/ops/linear.hpp"'
  expect good tests/consumer/kernel.cpp     '#include <clip/clip.hpp>'
  expect good tests/ops/softmax_test.cpp    '#include "tests/support/check_op.hpp"'
  expect bad  include/clip/core/tensor.hpp  '#include "clip/autograd.hpp"'
  expect bad  include/clip/core/device.hpp  '#include <cuda_runtime.h>'
  expect bad  include/clip/ops/softmax.hpp  '#include "kernels/softmax.hpp"'
  expect bad  include/clip/ops/softmax.hpp  '#include "src/dispatch.hpp"'
  expect bad  include/clip/ops/softmax.hpp  '#include <clip/kernels/softmax.hpp>'
  expect bad  kernels/softmax.hpp           '#include "clip/core/tensor.hpp"'
  expect bad  kernels/dropout_cpu.cpp       '#include "clip/core/random.hpp"'
  expect bad  kernels/softmax.hpp           '#include "kernels/cpu/math.hpp"'
  expect bad  kernels/softmax_cpu.cpp       '#include "clip/autograd.hpp"'
  expect bad  kernels/softmax_cpu.cpp       '#include "src/dispatch.hpp"'
  expect bad  src/autograd.cpp              '#include "clip/ops/reduce.hpp"'
  expect bad  src/dispatch.hpp              '#include "clip/ops/reduce.hpp"'
  expect bad  src/core/device.cpp           '#include "cuda_context.hpp"'
  expect bad  src/ops/softmax.cpp           '#include "clip/clip.hpp"'
  expect bad  src/ops/softmax.cpp           '#include "tests/support/check_op.hpp"'
  expect good src/text/wordpiece.cpp        '#include "clip/io/file.hpp"'
  expect bad  src/text/wordpiece.cpp        '#include "clip/image/resize.hpp"'
  expect bad  src/io/file.cpp               '#include "clip/image/resize.hpp"'
  expect bad  include/clip/nn/linear.hpp    '#include "clip/models/clip.hpp"'
  expect bad  tests/ops/softmax_test.cpp    '#include "bench/support/limits.hpp"'
  expect bad  src/odd/thing.cpp             '#include <vector>'
  cd - > /dev/null
  return $failures
}

if [ "${1:-}" = --self-test ]; then self_test; else check; fi
