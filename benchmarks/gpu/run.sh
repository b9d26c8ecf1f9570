#!/usr/bin/env bash
# Builds the native library for this machine's GPU, tests it, and measures it: see README.md beside it.
# What fails does not keep the rest from running; the end says what it was, and the exit status is then 1.
set -u -o pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/gpu
out=$root/benchmarks/results
python=${PYTHON:-python3}
gtest=
architectures=
tests=yes
dry_run=
measure_options=()
jobs=$(nproc)

usage() {
  cat <<'TEXT'
run.sh [options]
  --quick          only the shapes that were asked about
  --skip-tests     no CTest and no compute-sanitizer
  --out DIR        where the results are written (benchmarks/results)
  --work DIR       where the build and the log lie (target/gpu)
  --python PATH    a Python with PyTorch (python3, or $PYTHON)
  --gtest DIR      GoogleTest's sources, for the C++ tests (target/googletest, then /usr/src/googletest)
  --arch LIST      CUDA architectures in CMake's notation (this machine's)
  --jobs N         of the build
  --dry-run        rehearse on the CPU, without nvcc and a GPU
TEXT
}

while [ $# -gt 0 ]; do
  case $1 in
    --quick) measure_options+=(--quick) ;;
    --skip-tests) tests= ;;
    --dry-run) dry_run=yes; measure_options+=(--dry-run) ;;
    --out | --work | --python | --gtest | --arch | --jobs)
      [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
      case $1 in
        --out) out=$2 ;;
        --work) work=$2 ;;
        --python) python=$2 ;;
        --gtest) gtest=$2 ;;
        --arch) architectures=$2 ;;
        --jobs) jobs=$2 ;;
      esac
      shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$dry_run" ] && [ "$out" = "$root/benchmarks/results" ] && out=$work/rehearsal

mkdir -p "$work" || exit 1
build=$work/build
log=$work/run.log
notes=$work/notes.txt
: >"$log"
: >"$notes"
failed=()

say() { echo "$*" | tee -a "$log"; }

# Runs a command with its output in the log (the last lines of a failure on the terminal too), and notes what it came
# to and how long it took.
step() {
  local name=$1 begin=$SECONDS status
  shift
  say "== $name"
  "$@" >"$work/step.log" 2>&1
  status=$?
  cat "$work/step.log" >>"$log"
  if [ $status -eq 0 ]; then
    say "   ok, $((SECONDS - begin)) s"
    echo "$name: ok, $((SECONDS - begin)) s" >>"$notes"
  else
    tail -n 40 "$work/step.log"
    say "   FAILED with status $status, $((SECONDS - begin)) s (124: it took too long)"
    echo "$name: FAILED with status $status, $((SECONDS - begin)) s" >>"$notes"
    failed+=("$name")
  fi
  return $status
}

skip() {
  say "== $1: skipped ($2)"
  echo "$1: skipped ($2)" >>"$notes"
}

"$python" -c 'import torch' 2>>"$log" || { say "$python has no PyTorch; name one that has with --python"; exit 1; }
for tool in cmake ${dry_run:-nvcc}; do
  [ "$tool" = yes ] || command -v "$tool" >/dev/null || [ -x "/usr/local/cuda/bin/$tool" ] ||
    { say "$tool was not found on PATH or in /usr/local/cuda/bin"; exit 1; }
done

# The CUDA architecture of GPU 0: only compute capability 9.0 has code of its own.
architecture_here() {
  "$python" -c '
import torch
major, minor = torch.cuda.get_device_capability(0)
print("90a-real" if (major, minor) == (9, 0) else f"{major}{minor}-real")'
}

# The folder of cublasLt.h in PyTorch's own packages, for toolkits without it.
cublaslt_of_torch() {
  "$python" -c '
import pathlib, torch
for path in pathlib.Path(torch.__file__).parents[1].glob("nvidia/*/include/cublasLt.h"):
    print(path.parent)' | head -n 1
}

# Where CMake finds GoogleTest: nothing, or a prefix that it is installed to from its sources.
gtest_prefix() {
  local sources=$gtest
  for candidate in "$root/target/googletest" /usr/src/googletest; do
    [ -z "$sources" ] && [ -f "$candidate/CMakeLists.txt" ] && sources=$candidate
  done
  [ -z "$sources" ] && return
  cmake -S "$sources" -B "$work/googletest" -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF \
    -DCMAKE_INSTALL_PREFIX="$work/prefix" >>"$log" 2>&1 &&
    cmake --build "$work/googletest" -j "$jobs" --target install >>"$log" 2>&1 && echo "$work/prefix"
}

cmake_options=(-DCMAKE_BUILD_TYPE=Release)
if [ -n "$dry_run" ]; then
  cmake_options+=(-DGLANCE_CUDA=OFF)
else
  [ -z "$architectures" ] && architectures=$(architecture_here)
  [ -n "$architectures" ] || { say "PyTorch finds no CUDA device; --dry-run rehearses without one"; exit 1; }
  cmake_options+=(-DGLANCE_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$architectures")
  toolkit=$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")
  if [ ! -f "$toolkit/include/cublasLt.h" ] && [ -n "$(cublaslt_of_torch)" ]; then
    cmake_options+=("-DGLANCE_CUBLASLT_INCLUDE=$(cublaslt_of_torch)")
  fi
fi
targets=(glance_kernels c_abi_test)
if [ -n "$tests" ]; then
  prefix=$(gtest_prefix)
  [ -n "$prefix" ] && cmake_options+=("-DCMAKE_PREFIX_PATH=$prefix")
fi

step "configure" cmake -S "$root/native" -B "$build" "${cmake_options[@]}" || exit 1
grep "^glance:" "$work/step.log"
# The emulator's tests are for machines without a GPU: of the C++ tests only those of the device are built.
if [ -n "$tests" ] && ! grep -q "C++ tests: skipped" "$work/step.log"; then
  pattern='_cuda$'
  [ -n "$dry_run" ] && pattern='^(flow_step|gated_residual)$'
  while read -r name; do targets+=("${name%_cuda}_test"); done < <(
    ctest --test-dir "$build" -N -R "$pattern" | sed -n 's/.*Test *#[0-9]*: //p')
else
  pattern='^$'
fi
step "build" cmake --build "$build" -j "$jobs" --target "${targets[@]}" || exit 1
library=$build/libglance_kernels.so

if [ -z "$tests" ]; then
  skip "tests" "--skip-tests"
elif [ "$pattern" = '^$' ]; then
  step "tests without GoogleTest" ctest --test-dir "$build" --output-on-failure -R "^c_abi\$|^resources\$"
  skip "C++ tests" "GoogleTest was not found; --gtest names its sources"
else
  step "tests" timeout -k 10 900 ctest --test-dir "$build" --output-on-failure -R "$pattern|^c_abi\$|^resources\$"
  # A test of the device that finds none is skipped, which here is as bad.
  if [ -z "$dry_run" ] && grep -q 'Test.*\*\*\*Skipped' "$work/step.log"; then
    say "   but $(grep -c 'Test.*\*\*\*Skipped' "$work/step.log") tests were skipped: they found no device"
    failed+=("tests were skipped")
  fi
fi

check() { timeout -k 10 300 "$@" "$python" "$here/measure.py" --library "$library" --check-only ${dry_run:+--dry-run}; }
check_with() { timeout -k 10 300 "$python" "$here/measure.py" --library "$library" --check-only --matmul "$1"; }

# Should the matmul that is chosen first not hold on this machine, the other one is measured.
if ! step "checks" check env && [ -z "$dry_run" ]; then
  step "checks with mma.sync" check_with mma && measure_options+=(--matmul mma)
fi

if [ -z "$tests" ]; then
  skip "compute-sanitizer" "--skip-tests"
elif [ -n "$dry_run" ]; then
  skip "compute-sanitizer" "--dry-run"
elif ! command -v compute-sanitizer >/dev/null && [ ! -x /usr/local/cuda/bin/compute-sanitizer ]; then
  skip "compute-sanitizer" "it was not found"
else
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  # Only our kernels, where this version can tell them apart: PyTorch's take long.
  only_ours=()
  "$sanitizer" --help 2>/dev/null | grep -q -e --kernel-regex && only_ours=(--kernel-regex kns=glance)
  for tool in memcheck racecheck synccheck; do
    step "compute-sanitizer $tool" check "$sanitizer" --tool "$tool" --error-exitcode 9 "${only_ours[@]}"
  done
fi

touch "$work/measuring"
step "measure" timeout -k 10 480 "$python" "$here/measure.py" --library "$library" --out "$out" --notes "$notes" \
  "${measure_options[@]}"
# Its table, also where it failed half-way: what was measured is written as it goes.
newest=$(ls -t "$out"/*-gpu-*.md 2>/dev/null | head -n 1)
[ -n "$newest" ] && [ ! "$newest" -ot "$work/measuring" ] && cat "$newest"

echo
say "All steps:"
tee -a "$log" <"$notes"
if [ ${#failed[@]} -gt 0 ]; then
  say "FAILED: $(IFS=,; echo "${failed[*]}"); the log is $log"
  exit 1
fi
say "All held; the log is $log"
