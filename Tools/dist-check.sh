#!/usr/bin/env bash
# Proves that what `make dist` packed works where nothing is installed: in a Debian 12 of the least packages.
#   sudo Tools/dist-check.sh [ARCHIVE [FOLDER]]
# FOLDER is where that Debian is, or will be made by debootstrap (200 MB from a mirror); without it, it is removed again.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "limn: $1" >&2; exit 1; }
archive=${1:-$(ls -t limn-*-linux-"$(uname -m)".tar.gz 2>/dev/null | head -1)}
[ -f "$archive" ] || fail "no archive; run make dist"
[ "$(id -u)" = 0 ] || fail "chroot and debootstrap need root"
if [ $# -lt 2 ]; then
  debian=$(mktemp -d)
  trap 'rm -rf --one-file-system "$debian"' EXIT
else
  debian=$2
fi
if [ ! -e "$debian/etc/debian_version" ]; then
  command -v debootstrap >/dev/null || fail "debootstrap is missing (Debian: apt-get install debootstrap)"
  debootstrap --variant=minbase bookworm "$debian" >/dev/null
fi

rm -rf "$debian/opt/limn" && mkdir -p "$debian/opt/limn"
tar -xzf "$archive" --strip-components=1 --no-same-owner -C "$debian/opt/limn"

# Runs a command in that Debian, in limn's folder, with its own /proc.
inside() {
  unshare --mount --pid --fork bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" \
    env -i PATH=/usr/bin:/bin HOME=/root bash -c "cd /opt/limn && $1"' "$debian" "$1"
}

failed=0
# Says a command and what it printed, and compares its exit code, and that its output has a text.
check() {
  local expected=$1 text=$2 output code=0
  output=$(inside "$3" 2>&1) || code=$?
  printf '$ %s\n%s\n' "$3" "$output"
  if [ "$code" != "$expected" ] || [[ $output != *"$text"* ]]; then
    printf 'FAILED: code %s, expected %s and "%s"\n' "$code" "$expected" "$text" >&2
    failed=1
  fi
}

examples=share/doc/limn/examples
check 1 "" "command -v swift"
check 0 "limn " "bin/limn --version"
check 0 "three" "bin/limn ask $examples/camp.png 'How many people are there?'"
check 0 "lighthouse" "bin/limn ask $examples/lighthouse.png 'Describe this picture.'"
check 0 "/opt/limn/share/limn/limn-demo" "bin/limn show"
check 66 "nothing.jpg" "bin/limn ask nothing.jpg x"
check 69 "libcurl" "bin/limn ask https://example.org/a.jpg x"
check 0 "three" "ln -sf /opt/limn/bin/limn /usr/bin/limn && cd / && limn ask /opt/limn/$examples/camp.png 'How many people are there?'"
check 0 '"status":"ok"' "bin/limn serve --port 8429 & for i in 1 2 3 4 5; do sleep 1; { exec 3<>/dev/tcp/127.0.0.1/8429; } 2>/dev/null && break; done
printf 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3; cat <&3; kill %1"
check 69 "libcurl" "bin/limn ps"
check 66 "LIMN_RESOURCES" "cp bin/limn /tmp/limn && /tmp/limn ask x"
check 0 "camp.png" ". share/bash-completion/completions/limn && cd $examples && \
COMP_WORDS=(limn ask ca) COMP_CWORD=2 COMP_LINE='limn ask ca' COMP_POINT=11 && _limn limn ca ask && echo \${COMPREPLY[@]}"
exit $failed
