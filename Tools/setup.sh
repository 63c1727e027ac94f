#!/usr/bin/env bash
# Installs limn's missing build dependencies with apt or Homebrew; does nothing if all are present.
set -euo pipefail

if ! command -v swift >/dev/null; then
  echo "limn: the Swift toolchain is missing; install Swift 6.3 (https://www.swift.org/install/)" >&2
  exit 69
fi

# Whether a C++ compiler on this machine finds its standard library.
links_cxx() {
  local compiler program status=1
  program=$(mktemp)
  for compiler in clang++ c++; do
    printf '#include <string>\nint main() { return std::string("limn").size() != 4; }\n' |
      "$compiler" -x c++ - -o "$program" 2>/dev/null && status=0 && break
  done
  rm -f "$program"
  return $status
}

# The missing packages, by their names in Debian and Ubuntu (any release) and in Homebrew.
apt=() brew=()
need() { apt+=("$1") brew+=(${2:+"$2"}); }
has() { pkg-config --exists "$@" 2>/dev/null; }
command -v pkg-config >/dev/null || need pkg-config pkgconf
has libjpeg || need libjpeg-dev jpeg-turbo
has libpng || need libpng-dev libpng
has libwebp libwebpdemux || need libwebp-dev webp
# Opened at run time. libheif's own package has the same name everywhere, libtiff's has not.
opens() {
  if [ "$(uname)" = Darwin ]; then has "$1"; else PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep "$1\.so\." >/dev/null; fi
}
opens libheif || need libheif1 libheif
opens libtiff || need libtiff-dev libtiff
command -v git >/dev/null || need git git
if [ "$(uname)" != Darwin ]; then  # macOS has the rest
  has libcurl || need libcurl4-openssl-dev
  has libedit || need libedit-dev
  links_cxx || need g++
  [ -n "$(ls /etc/ssl/certs 2>/dev/null)" ] || need ca-certificates
fi
[ ${#apt[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  if command -v brew >/dev/null && [ "$(uname)" = Darwin ]; then
    echo "limn: installing ${brew[*]}" >&2
    exec brew install --quiet "${brew[@]}"
  fi
  echo "limn: missing here; install what your system has for these packages of Debian: ${apt[*]}" >&2
  exit 69
fi

echo "limn: installing ${apt[*]}" >&2
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "limn: as root, run: apt-get install ${apt[*]}" >&2; exit 69; }
  sudo=(sudo)
fi
install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${apt[@]}"; }
# The package lists of a fresh machine may be empty or old.
install >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -q >/dev/null && install >/dev/null; }
