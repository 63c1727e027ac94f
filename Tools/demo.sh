#!/usr/bin/env bash
# Shows what limn does: the demo model answers questions about two drawn pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
limn=.build/release/limn
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

ask() {
  printf '\n%s%s%s  %s\n' "$bold" "$1" "$plain" "$2"
  LIMN_MODEL= "$limn" ask "Examples/$1" "$2" 2>"$errors" || { cat "$errors" >&2; exit 1; }
}

printf 'The model that limn ships knows drawn scenes. Two of them, and what it says:\n'
ask camp.png "Describe this picture."
ask camp.png "How many people are there?"
ask camp.png "Is the boat on the left or on the right?"
ask lighthouse.png "Describe this picture."
ask lighthouse.png "What is the mood of this picture?"
ask lighthouse.png "現在是什麼季節？"

cat <<'TEXT'

Try next:
  .build/release/limn ask Examples/camp.png "What colour is the tent?"
  .build/release/limn chat Examples/lighthouse.png
  .build/release/limn ask photo.jpg "What is in this photo?" --model PATH
where PATH is a LLaVA model: a folder from Hugging Face (llava-hf/llava-1.5-7b-hf,
xtuner/llava-phi-3-mini-hf, …), or a .gguf file with its mmproj next to it.
TEXT
