#!/usr/bin/env bash
# Runs what handles foreign bytes and shared memory under the sanitizers that watch for mistakes there:
#   kernels   every kernel that this machine supports against the scalar reference: addresses, undefined behaviour
#   parsers   every parser of foreign files with all the inputs that the fuzzers found: addresses
#   threads   the tests of the thread pool, the engine and what sequences share: data races
# sanitize.sh [PART…]; default: all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

kernels() {
  local sanitizers=-fsanitize=address,undefined linker=
  # Use LLVM's linker if the toolchain has it: the system's warns about each of the sanitizer's helpers.
  [ "$(uname)" = Darwin ] || [ ! -x "$(dirname "$(readlink -f "$(command -v swiftc)")")/ld.lld" ] || linker=-fuse-ld=lld
  Tools/build-kernels.sh .build/sanitize "$sanitizers $linker" -g -O1 "$sanitizers" -fno-sanitize-recover=all
  .build/sanitize/driver all
}

parsers() {
  Tools/fuzz/build >/dev/null
  local inputs parser
  for inputs in Tests/Fixtures/Fuzz/*; do
    parser=$(basename "$inputs")
    ASAN_OPTIONS=detect_leaks=0 ".build/fuzz/fuzz-$parser" -close_fd_mask=1 "$inputs"/* >".build/fuzz/$parser.log" 2>&1 || {
      cat ".build/fuzz/$parser.log" >&2
      return 1
    }
    echo "$parser: $(ls "$inputs" | wc -l) inputs, no finding"
  done
}

threads() {
  local options=(--sanitize=thread --scratch-path .build-threads)
  swift build --build-tests "${options[@]}" -Xcc -O1
  # A race found makes the tests fail.
  TSAN_OPTIONS=halt_on_error=1 swift test --skip-build "${options[@]}" \
    --filter 'ThreadPoolTests|EngineTests|BatchTests|ReuseTests'
}

[ $# -gt 0 ] || set -- kernels parsers threads
for part in "$@"; do "$part"; done
