#!/usr/bin/env bash
# Shows what limn does: the demo model answers questions about two drawn pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
limn=.build/release/limn

ask() {
  printf '\n\033[1m%s\033[0m  %s\n' "$1" "$2"
  "$limn" ask "Examples/$1" "$2" 2>/dev/null
}

printf 'The model that limn ships knows drawn scenes. Two of them, and what it says:\n'
ask village.png "Describe this picture."
ask village.png "What is the weather?"
ask village.png "How many trees are there?"
ask lake.png "Describe this picture."
ask lake.png "What is the mood of this picture?"
ask lake.png "現在是一天中的什麼時候？"

cat <<'TEXT'

Try next:
  .build/release/limn ask Examples/village.png "What colour is the house?"
  .build/release/limn chat Examples/lake.png
  .build/release/limn ask photo.jpg "What is in this photo?" --model PATH
where PATH is a LLaVA model: a folder from Hugging Face (llava-hf/llava-1.5-7b-hf,
xtuner/llava-phi-3-mini-hf, …), or a .gguf file with its mmproj beside it.
TEXT
