#!/usr/bin/env bash
# Runs every kernel of this machine under the address and undefined-behaviour sanitizers, beside the scalar reference.
set -euo pipefail
cd "$(dirname "$0")/.."
sanitizers=-fsanitize=address,undefined
# LLVM's linker where the toolchain has it: the other one warns about each of the sanitizer's helpers.
linker=
[ "$(uname)" = Darwin ] || [ ! -x "$(dirname "$(readlink -f "$(command -v swiftc)")")/ld.lld" ] || linker=-fuse-ld=lld
Tools/build-kernels.sh .build/sanitize "$sanitizers $linker" -g -O1 "$sanitizers" -fno-sanitize-recover=all
.build/sanitize/driver all
