#!/usr/bin/env bash
# Builds the library's documentation with docc, which comes with Swift, and fails where a link leads nowhere or Limn.docc
# leaves out a public type.
set -euo pipefail
cd "$(dirname "$0")/.."
docc=$(command -v docc || xcrun --find docc)
build=$PWD/.build/docs graphs=$PWD/.build/docs/graphs
archive=.build/docs/Limn.doccarchive

flags=(--scratch-path "$build" -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs")
mkdir -p "$graphs"
swift build "${flags[@]}" --target Limn
swift build "${flags[@]}" --target LimnHub

# `import Limn` brings along the types of its parts (Exports.swift), which therefore stand among its own.
rm -rf "$build/public" && mkdir -p "$build/public"
cp "$graphs"/Limn.symbols.json "$graphs"/LimnHub.symbols.json "$build/public"
for module in LimnCore LimnImage LimnTensor; do
  sed "s/\"module\":{\"name\":\"$module\"/\"module\":{\"name\":\"Limn\"/" "$graphs/$module.symbols.json" \
    >"$build/public/$module.symbols.json"
done
rm -rf "$archive"
"$docc" convert Sources/Limn/Limn.docc --additional-symbol-graph-dir "$build/public" --output-path "$archive" \
  --fallback-display-name Limn --fallback-bundle-identifier limn --warnings-as-errors

# docc puts what no list of topics names into groups of its own.
left=$(grep -o '{[^{}]*"generated":true[^{}]*}' "$archive/data/documentation/limn.json" | grep -o 'Limn\\/[A-Za-z]*' |
  sed 's|.*/||' | paste -sd ' ' || true)
[ -z "$left" ] || { echo "limn: Limn.docc leaves out: $left" >&2; exit 1; }
echo "$archive; to read it: python3 -m http.server --directory $archive, then http://localhost:8000/documentation/limn"
