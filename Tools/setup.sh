#!/usr/bin/env bash
# Installs what limn needs from Debian and is missing here; does nothing where all is there.
set -euo pipefail

if ! command -v swift >/dev/null; then
  echo "limn: the Swift toolchain is missing; install Swift 6.3 (https://www.swift.org/install/linux/debian/12)" >&2
  exit 69
fi

# The libraries that decode pictures, and what a C and C++ compiler needs beside the toolchain.
packages=(libjpeg62-turbo-dev libpng-dev libwebp-dev pkg-config libc6-dev libstdc++-12-dev git ca-certificates)
missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
  done
else
  for library in libjpeg libpng libwebp libwebpdemux; do
    pkg-config --exists "$library" || missing+=("$library")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "limn: install the development files of: ${missing[*]}" >&2
    exit 69
  fi
fi
[ ${#missing[@]} -eq 0 ] && exit 0

echo "limn: installing ${missing[*]}" >&2
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "limn: as root, run: apt-get install ${missing[*]}" >&2; exit 69; }
  sudo=(sudo)
fi
install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; }
# The package lists of a fresh machine may be empty or old.
install >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -q >/dev/null && install >/dev/null; }
