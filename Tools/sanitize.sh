#!/usr/bin/env bash
# Runs every kernel of this machine under the address and undefined-behaviour sanitizers, beside the scalar reference.
set -euo pipefail
cd "$(dirname "$0")/.."
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
kernels=Sources/CLimnKernels out=.build/sanitize
mkdir -p "$out"
flags=(-std=c17 -g -O1 -Wall -Wextra -fsanitize=address,undefined -fno-sanitize-recover=all -I"$kernels/include")
objects=()
for file in "$kernels"/*.c Tests/CLimnKernelsTests/driver.c; do
  object=$out/$(basename "$file").o
  objects+=("$object")
  # A header that changed builds everything again.
  newest=$(ls -t "$file" "$kernels"/*.h "$kernels"/include/*.h | head -n 1)
  [ "$object" -nt "$newest" ] || "$clang" "${flags[@]}" -c "$file" -o "$object"
done
# LLVM's linker where the toolchain has it: the other one warns about each of the sanitizer's helpers.
linker=(); [ ! -x "$(dirname "$clang")/ld.lld" ] || [ "$(uname)" = Darwin ] || linker=(-fuse-ld=lld)
"$clang" -fsanitize=address,undefined ${linker[@]+"${linker[@]}"} "${objects[@]}" -lm -o "$out/driver"
"$out/driver" all
