#!/usr/bin/env bash
# Everything that wants a GPU, on a machine that has one: builds, tests every kernel, op and model on it, has
# compute-sanitizer watch the kernels, and measures. Writes one report, gpu_report.md or the file given. Needs the CUDA
# toolkit, a compiler, CMake, Ninja, and what scripts/setup.sh installs or scripts/fetch_deps.sh has fetched.
# Each part has a time limit of its own; all take under 9 minutes on 16 cores. Fails unless every part passes.
set -euo pipefail
[[ $# -le 1 && ${1:-} != -* ]] || { echo "usage: scripts/gpu_check.sh [REPORT.md]" >&2; exit 2; }
report=$(realpath -m -- "${1:-gpu_report.md}")
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer:/usr/local/nvidia/bin
build=build/gpu_check
export bin=$build/bin logs=$build/logs jobs=$((($(nproc) + 1) / 2)) PYTHONUNBUFFERED=1
deadline=$((SECONDS + 520))

die() { echo "gpu_check: $*" >&2; exit 1; }
card=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null) ||
  die "no NVIDIA GPU here (nvidia-smi finds none): nothing was checked"
for tool in nvcc cmake ninja c++; do
  command -v $tool >/dev/null || die "needs $tool on PATH (nvcc: or in /usr/local/cuda/bin): nothing was checked"
done

# What scripts/fetch_deps.sh has fetched.
deps=$PWD/downloads/deps/usr
if [ -e "$deps" ]; then
  libraries=$(dirname "$deps"/lib/*/libdnnl.so)
  export CMAKE_PREFIX_PATH=$deps${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  export PKG_CONFIG_PATH=$libraries/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}  # also for what its libraries need
  command -v pkg-config >/dev/null || export PKG_CONFIG=$deps/bin/pkgconf
fi

rm -rf "$logs"
mkdir -p "$logs" "$(dirname "$report")"
cat >"$report" <<END
# GPU check of $(date -u '+%Y-%m-%d %H:%M') UTC

$(awk -F ', ' '{ printf "- %s, %s, driver %s\n", $1, $3, $2 }' <<<"$card")
- $(nvcc --version | grep release), $(c++ --version | head -1), $(cmake --version | head -1), $(nproc) cores
- commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)

| part | result | seconds | |
|---|---|---|---|
END

failed=() running=
trap 'kill $running 2>/dev/null; exit 130' INT TERM
# part NAME SECONDS COMMAND…: runs it for so long at most, and adds a line to the report.
part() {
  local name=$1 limit=$2 log="$logs/${1// /_}.log" started=$SECONDS status=0 result=passed
  shift 2
  if [ $((deadline - SECONDS)) -lt "$limit" ]; then limit=$((deadline - SECONDS)); fi
  if [ "$limit" -gt 0 ]; then
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 &
    running=$!
    wait $running || status=$?
  else
    status=124
  fi
  case $status in
    0)
      if grep -q 'no usable GPU' "$log"; then result='FAILED: found no GPU'; fi
      if grep -qE 'ERROR OCCURRED|ours FAILED' "$log"; then result='FAILED: a benchmark'; fi  # which goes on after it
      ;;
    124 | 137) result='FAILED: out of time' ;;
    *) result=FAILED ;;
  esac
  [ "$result" = passed ] || failed+=("$name")
  echo "| $name | $result | $((SECONDS - started)) | $(grep -s 'tests passed' "$log" | tail -1) |" >>"$report"
  echo "gpu_check: $name: $result in $((SECONDS - started)) s"
}

tests() {  # of these labels, each in a process of its own
  OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive ctest --test-dir build/gpu_check -V -j "$jobs" --timeout 60 \
    --no-tests=error -L "^($1)(-threads)?\$" -E 'instructions$'
}
sanitize() {  # TOOL: every file of tests in a process of its own
  command -v compute-sanitizer >/dev/null || { echo "FAILED: no compute-sanitizer on PATH"; return 1; }
  printf '%s\n' tests/kernels/*_cuda_test.cpp | xargs -P "$jobs" -n 1 bash -c 'sanitize_file "$@"' _ "$1"
}
sanitize_file() {  # TOOL FILE
  local name log options
  name=$(basename "$2" .cpp)
  log=$logs/$1_$name.log
  options=--report-api-errors=no  # tests ask for too much memory on purpose
  if [ "$1" = racecheck ]; then options=--racecheck-detect-level=error; fi
  if timeout -k 5 90 compute-sanitizer --tool "$1" "$options" --error-exitcode 1 "$bin/cuda_tests" --filenames-as-tags "[#$name]~[large]" \
    >"$log" 2>&1 && grep -q 'All tests passed' "$log"; then
    echo "$name: passed"
  else
    echo "$name: FAILED"
    grep -E -m 20 '^=========|FAILED|no usable GPU' "$log" || tail -n 3 "$log"
    return 1
  fi
}
export -f tests sanitize sanitize_file
run() { part "$1" "$2" bash -euc "$3"; }

targets=(cuda_tests core_tests ops_tests models_tests train_tests retrieval_tests
         gpu_limits cuda_bench encoder_time make_flickr8k train_flickr8k)
run configure       60 "cmake --fresh --preset cuda -B $build -DCLIP_WERROR=OFF"
run build          270 "rm -f $bin/*; cmake --build $build -- -k 0 ${targets[*]}"
run limits          30 "$bin/gpu_limits"
run "kernel tests"  80 'tests cuda'
run "op tests"     100 'tests "core|ops"'
run "model tests"   60 'tests "models|train|retrieval"'
run benchmarks      60 "$bin/cuda_bench --benchmark_filter=-million"
run "million pairs" 40 "$bin/cuda_bench --benchmark_filter=million"
run memcheck       100 'sanitize memcheck'
compare=bench/compare
has() { python3 -c "import $1" 2>/dev/null; }
if has torch; then
  run "PyTorch kernels"  120 "python3 $compare/kernels_cuda.py --bin $bin"
fi
if has "torch, torchvision, transformers"; then
  run "PyTorch encoders"  90 "python3 $compare/encoders.py --bin $bin --cuda --batch 256 --precision bf16 --threads $(nproc) --only ResNet50 128"
  run recipe              60 "python3 $compare/recipe.py --bin $bin --folder $build/recipe --device cuda:0 --rounds 2"
fi
run racecheck      100 'sanitize racecheck'

# shellcheck disable=SC2016  # code fences
{
  for log in "$logs"/{limits,benchmarks,recipe,PyTorch*,million_pairs}.log; do
    if [ -e "$log" ]; then printf '\n## %s\n```\n%s\n```\n' "$(basename "$log" .log)" "$(cat "$log")"; fi
  done
  printf '\n## What tests said of the GPU, and how often\n```\n'
  grep -hs -o 'note: .*' "$logs"/{kernel,op,model}_tests.log | sort | uniq -c | sort -rn || true
  printf '```\n'
  for name in "${failed[@]}"; do
    printf '\n## %s\n```\n' "$name"
    grep -s -E -A 12 'error:|FAILED|Failed' "$logs/${name// /_}.log" | tail -100 || true
    printf '...\n%s\n```\n' "$(tail -n 30 "$logs/${name// /_}.log" 2>/dev/null)"
  done
} >>"$report"
[ ${#failed[@]} -eq 0 ] || die "FAILED: $(IFS=,; echo "${failed[*]}"); see $report"
echo "gpu_check: all passed: $report"
