#!/usr/bin/env bash
# Compares every ARM kernel with the scalar reference under an emulator, with and without the dot product.
# Installs the emulator and the cross-compiler's libraries from Debian if they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then
  target=() runs=("") link=
else
  packages=(qemu-user libc6-dev-arm64-cross libgcc-12-dev-arm64-cross binutils-aarch64-linux-gnu) missing=()
  for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "limn: installing ${missing[*]}" >&2
    sudo=(); [ "$(id -u)" = 0 ] || sudo=(sudo)
    install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; }
    install >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -q >/dev/null && install >/dev/null; }
  fi
  # A Cortex-A53 has no dot product.
  target=(--target=aarch64-linux-gnu) runs=("qemu-aarch64 -cpu max" "qemu-aarch64 -cpu cortex-a53") link="-fuse-ld=lld -static"
fi

Tools/build-kernels.sh .build/arm "${target[*]-} $link" -O2 ${target[@]+"${target[@]}"}
for run in "${runs[@]}"; do
  echo "${run:-on this processor}:"
  $run .build/arm/driver all
done
