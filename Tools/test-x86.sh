#!/usr/bin/env bash
# Compares every x86 kernel with the scalar reference on a processor that has only AVX2: plain AVX-512, VNNI
# (and AVX-VNNI), BF16, and AMX. SIMDe emulates most of the instructions; it is installed from Debian if it is
# missing.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(uname -m)" != x86_64 ]; then
  echo "limn: make test-x86 needs an x86 processor with AVX2; this one is $(uname -m)" >&2
  exit 69
fi
if [ ! -e /usr/include/simde/x86/avx512.h ]; then
  echo "limn: installing libsimde-dev" >&2
  sudo=(); [ "$(id -u)" = 0 ] || sudo=(sudo)
  install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends libsimde-dev; }
  install >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -q >/dev/null && install >/dev/null; }
fi

for level in 1 2 3 4; do
  out=.build/x86-$level
  Tools/build-kernels.sh "$out" "" -O1 -mavx2 -mfma -mf16c "-I$PWD/Tests/CLimnKernelsTests/emulated" "-DLIMN_EMULATED=$level"
  echo "AVX2 and AVX-512$([ $level -lt 2 ] || echo ', VNNI')$([ $level -lt 3 ] || echo ', BF16')$([ $level -lt 4 ] || echo ', AMX'):"
  "$out/driver" all
done
