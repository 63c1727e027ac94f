#!/usr/bin/env bash
# Drives the server with requests that schemathesis makes from its own description, right ones and wrong ones: no
# answer may be a server error, or other than described. Takes about two minutes.
#   LIMN_SERVER      the server; .build/release/limn-server if it is not set
#   LIMN_SCHEMATHESIS  schemathesis; the one on PATH if it is not set (Tools/schemathesis.txt)
set -euo pipefail
cd "$(dirname "$0")/.."
server=${LIMN_SERVER:-.build/release/limn-server}
schemathesis=${LIMN_SCHEMATHESIS:-schemathesis}
log=$(mktemp)
# A short context, so that no answer takes long.
"$server" --port 0 --context 160 --log none >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
  url=$(grep -om1 'http://[0-9.]*:[0-9]*' "$log") && break
  kill -0 $pid 2>/dev/null || break
  sleep 0.1
done
if [ -z "${url:-}" ]; then
  cat "$log"
  echo "limn: the server did not start"
  exit 1
fi
"$schemathesis" --config-file Tools/schemathesis.toml run --no-color --no-shrink "$@" "$url/openapi.json"
# It must still be there, too.
kill -0 $pid
