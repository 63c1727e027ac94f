#!/usr/bin/env bash
# Builds the kernels and their driver with the toolchain's clang, what has changed only, as many files at a time as there are
# processors: build-kernels.sh FOLDER "FLAGS FOR COMPILING" "FLAGS FOR LINKING" makes FOLDER/driver.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1 clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
read -r -a compiling <<<"$2"
read -r -a linking <<<"$3"
tests=Tests/CLimnKernelsTests kernels=Sources/CLimnKernels
mkdir -p "$out"
# A header that changed builds everything again.
header=$(ls -t "$kernels"/*.h "$kernels"/include/*.h "$tests"/*/*.h | head -n 1)
objects=() stale=()
for file in "$kernels"/*.c "$tests/driver.c"; do
  object=$(basename "${file%.c}").o
  objects+=("$object")
  if [ ! "$out/$object" -nt "$file" ] || [ ! "$out/$object" -nt "$header" ]; then stale+=("$PWD/$file"); fi
done
compiling+=(-std=c17 -Wall -Wextra "-I$PWD/$kernels/include")
cd "$out"
[ ${#stale[@]} = 0 ] ||
  printf '%s\0' "${stale[@]}" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" "$clang" "${compiling[@]}" -c
"$clang" "${objects[@]}" -lm ${linking[@]+"${linking[@]}"} -o driver
