#!/usr/bin/env bash
# Builds the kernels and their driver with the toolchain's clang. Rebuilds only what has changed, with one job
# per processor. Usage: build-kernels.sh FOLDER "LINKER FLAGS" COMPILER-FLAG... makes FOLDER/driver.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1 clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
read -r -a linking <<<"$2"
tests=Tests/CLimnKernelsTests kernels=Sources/CLimnKernels
compiling=("${@:3}" -std=c17 -Wall -Wextra "-I$PWD/$kernels/include" "-I$PWD/$kernels")
mkdir -p "$out"
# Different flags, another compiler or a changed header rebuild everything.
flags=$("$clang" --version && printf '%s ' "${compiling[@]}")
[ "$flags" = "$(cat "$out/flags" 2>/dev/null)" ] || { rm -f "$out"/*.o && printf '%s\n' "$flags" >"$out/flags"; }
header=$(ls -t "$kernels"/*.def "$kernels"/*.h "$kernels"/*/*.h "$tests"/*/*.h | head -n 1)
objects=() stale=()
for file in "$kernels"/*/*.c "$tests/driver.c"; do
  # The folder goes into the name: two folders may each have a file of the same name.
  object=$(basename "$(dirname "$file")")-$(basename "${file%.c}").o
  objects+=("$object")
  if [ ! "$out/$object" -nt "$file" ] || [ ! "$out/$object" -nt "$header" ]; then stale+=("$PWD/$file" -o "$object"); fi
done
cd "$out"
[ ${#stale[@]} = 0 ] ||
  printf '%s\0' "${stale[@]}" | xargs -0 -n 3 -P "$(getconf _NPROCESSORS_ONLN)" "$clang" "${compiling[@]}" -c
"$clang" "${objects[@]}" -lm ${linking[@]+"${linking[@]}"} -o driver
