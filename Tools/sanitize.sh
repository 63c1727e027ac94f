#!/usr/bin/env bash
# Compares every kernel that this machine supports with the scalar reference, under the address and
# undefined-behaviour sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
sanitizers=-fsanitize=address,undefined
# Use LLVM's linker if the toolchain has it: the system's warns about each of the sanitizer's helpers.
linker=
[ "$(uname)" = Darwin ] || [ ! -x "$(dirname "$(readlink -f "$(command -v swiftc)")")/ld.lld" ] || linker=-fuse-ld=lld
Tools/build-kernels.sh .build/sanitize "$sanitizers $linker" -g -O1 "$sanitizers" -fno-sanitize-recover=all
.build/sanitize/driver all
