#!/usr/bin/env bash
# Which lines the tests run, module by module, and the files with the most lines that they do not.
set -euo pipefail
cd "$(dirname "$0")/.."
swift test --enable-code-coverage --scratch-path .build-coverage -Xcc -O1
python3 - "$(swift test --show-codecov-path --scratch-path .build-coverage)" <<'END'
import collections, json, os, sys

root = os.getcwd() + "/Sources/"
modules, files = collections.defaultdict(lambda: [0, 0]), []
for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
    if not file["filename"].startswith(root):
        continue
    name, lines = file["filename"][len(root):], file["summary"]["lines"]
    files.append((lines["count"] - lines["covered"], name))
    module = modules[name.split("/")[0]]
    module[0] += lines["covered"]
    module[1] += lines["count"]
for name, (covered, count) in sorted(modules.items()):
    print(f"{name:16} {100 * covered / max(1, count):5.1f}% of {count} lines")
print("\nmost lines that no test runs:")
for missed, name in sorted(files, reverse=True)[:10]:
    print(f"{missed:6}  {name}")
END
