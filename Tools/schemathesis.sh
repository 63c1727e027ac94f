#!/usr/bin/env bash
# Drives the server with requests that schemathesis makes from its own description, right ones and wrong ones: no
# answer may be a server error, or other than described. Takes about two minutes.
#   LIMN_PROGRAM   the server; .build/release/limn-server if it is not set
#   LIMN_CLIENTS   a Python that has schemathesis (Tools/clients.txt); python3 if it is not set
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
server=$(realpath "${LIMN_PROGRAM:-$root/.build/release/limn-server}")
python=$(command -v "${LIMN_CLIENTS:-python3}")
# schemathesis leaves files where it runs.
scratch=$(mktemp -d)
# A short context, so that no answer takes long.
"$server" --port 0 --context 160 --log none >"$scratch/log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null || true; rm -rf "$scratch"' EXIT
for _ in $(seq 100); do
  url=$(grep -om1 'http://[0-9.]*:[0-9]*' "$scratch/log") && break
  kill -0 $pid 2>/dev/null || break
  sleep 0.1
done
if [ -z "${url:-}" ]; then
  cat "$scratch/log"
  echo "limn: the server did not start"
  exit 1
fi
cd "$scratch"
"$python" -m schemathesis.cli --config-file "$root/Tools/schemathesis.toml" run --no-color --no-shrink "$@" \
  "$url/openapi.json"
# It must still be there, too.
kill -0 $pid
