#!/usr/bin/env bash
# Packs what people download, limn-VERSION-linux-ARCH.tar.gz: command and server, the demo model, a manual page, completions
# and licence texts. The command needs glibc; where they are installed, it uses libcurl (pictures by URL), libheif (HEIC,
# AVIF), libtiff, and libedit (lines in chat). Swift and the other libraries that decode pictures are linked statically.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "limn: $1" >&2; exit 69; }
[ "$(uname)" = Linux ] || fail "make dist packs for Linux only"
build=$PWD/.build/dist
archives=$build/archives

# Where the linker finds archives alone, it cannot take shared libraries: pkg-config's files are pointed there.
packages=(libjpeg libpng libwebp libwebpdemux)
read -ra libraries <<<"$(pkg-config --static --libs-only-l "${packages[@]}")"
rm -rf "$archives" && mkdir -p "$archives"
static=() sources=("$(clang -print-file-name=libgcc.a)")
for library in "${libraries[@]#-l}" stdc++; do
  case $library in m | pthread | dl) continue ;; esac  # glibc's own
  [ -e "$archives/lib$library.a" ] && continue
  archive=$(clang -print-file-name="lib$library.a")
  [ -e "$archive" ] || fail "lib$library.a is missing here; install the package that has it"
  ln -s "$archive" "$archives"
  static+=("$library") sources+=("$archive")
done
for package in "${packages[@]}" libsharpyuv; do
  folder=$(pkg-config --variable=pcfiledir "$package") || continue
  sed "s|^libdir=.*|libdir=$archives|" "$folder/$package.pc" >"$archives/$package.pc"
done

# The libraries once more at the end of the command line, since they need each other.
flags=(--static-swift-stdlib --pkg-config-path "$archives" -Xswiftc -Xclang-linker -Xswiftc -static-libgcc -Xlinker -s)
for library in "${static[@]}"; do flags+=(-Xlinker "-l$library"); done
for program in limn limn-server; do
  swift build -c release --product "$program" --scratch-path "$build" "${flags[@]}"
  shared=$(ldd "$build/release/$program" | grep -vE '^\s*(linux-vdso|libm|libc|libpthread|libdl|/lib\S*/ld-linux)\b' || true)
  [ -z "$shared" ] || fail "$program still needs shared libraries:"$'\n'"$shared"
done
limn=$build/release/limn

parser=$build/checkouts/swift-argument-parser
swift build --quiet --product generate-manual --package-path "$parser" --scratch-path "$build/manual"

named=$("$limn" --version)  # "limn 0.1.0 (abc1234)"
version=${named#limn } version=${version%% *}
case $named in *-dirty*) echo "limn: there are uncommitted changes; this is no release" >&2 ;; esac
name=limn-$version-linux-$(uname -m)
root=$build/$name
rm -rf "$root"
mkdir -p "$root"/{bin,libexec/limn,share/{limn,man/man1,doc/limn/{licences,examples},bash-completion/completions}} \
  "$root"/share/{zsh/site-functions,fish/vendor_completions.d}

install -m 755 "$limn" "$root/bin"
install -m 755 "$build/release/limn-server" "$root/libexec/limn"
cp packaging/limn.service "$root/share/doc/limn"
cp -R Sources/Limn/Resources/limn-demo "$root/share/limn"
cp Examples/*.png "$root/share/doc/limn/examples"
cp Tools/dist/README.md "$root"
cp CHANGELOG.md "$root/share/doc/limn"

"$limn" --generate-completion-script bash >"$root/share/bash-completion/completions/limn"
"$limn" --generate-completion-script zsh >"$root/share/zsh/site-functions/_limn"
"$limn" --generate-completion-script fish >"$root/share/fish/vendor_completions.d/limn.fish"

# The manual ends with a general section of exit codes; limn has its own, and one for the environment, which stand in
# the text of --help too.
date=$(git log -1 --format=%cs 2>/dev/null || date +%F)
"$build/manual/debug/generate-manual" "$limn" --date "$date" --output-directory "$build"
sed -e '/^\.Sh "EXIT STATUS"/,$d' -e '/^ENVIRONMENT:$/,/^$/d' -e '/^EXIT CODES:$/,/^$/d' "$build/limn.1" | cat - Tools/dist/manual-end.mdoc >"$root/share/man/man1/limn.1"

# Licences: limn's, and those of what is inside the command.
licences=$root/share/doc/limn/licences
cp LICENSE "$licences/limn.txt"
for package in "$build"/checkouts/*; do
  for text in "$package"/{LICENSE,NOTICE}*; do
    if [ -f "$text" ]; then cat "$text" >>"$licences/$(basename "$package").txt"; fi
  done
done
cp "$(dirname "$(readlink -f "$(command -v swift)")")/../share/swift/LICENSE.txt" "$licences/swift.txt"
cp Tools/dist/icu-license.txt "$licences/icu.txt"  # part of Foundation
{
  echo "$named was built with"
  swift --version 2>/dev/null | head -1
  for package in "$build"/checkouts/*; do printf '%s %s\n' "$(basename "$package")" "$(git -C "$package" describe --tags)"; done
} >"$licences/../built-with.txt"
for archive in "${sources[@]}"; do
  package=$(dpkg -S "$(readlink -f "$archive")" 2>/dev/null | cut -d: -f1) || fail "no package owns $archive"
  cp -L "/usr/share/doc/$package/copyright" "$licences/$package.txt"
  dpkg-query -W -f '${Package} ${Version}\n' "$package"
done | sort -u >>"$licences/../built-with.txt"

# The same commit gives the same archive.
tar -C "$build" --sort=name --owner=0 --group=0 --numeric-owner --mtime="$date UTC" --mode=u=rwX,go=rX -c "$name" |
  gzip -9n >"$name.tar.gz"
printf '%s: %s MB, the command %s MB\n' "$name.tar.gz" $(($(stat -c %s "$name.tar.gz") / 1000000)) \
  $(($(stat -c %s "$root/bin/limn") / 1000000))
