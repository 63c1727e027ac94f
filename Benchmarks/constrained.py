#!/usr/bin/env python3
"""Measures what answers in JSON cost: how fast a model decodes with --schema and without, in turn.

    Benchmarks/constrained.py --model language.gguf [--mmproj projector.gguf]

The cost of masks depends on the vocabulary and hardly on the model, so a small model with a large vocabulary shows the most
of it: Benchmarks/random_pair.py makes "llava-llama-3-1b", with Llama 3's 128,256 tokens. Run `make build` first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMA = {
    "type": "object",
    "properties": {
        "caption": {"type": "string", "minLength": 40, "maxLength": 400},
        "objects": {"type": "array", "minItems": 4, "items": {"type": "string", "minLength": 3, "maxLength": 40}},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    },
    "required": ["caption", "objects", "count", "date"],
    "additionalProperties": False,
}


def decoded(options, schema):
    """Tokens of the answer a second."""
    command = [options.limn, "ask", "Describe it.", "--model", options.model, "-n", str(options.tokens), "--json", "-q"]
    if options.mmproj:
        command += ["--mmproj", options.mmproj]
    if schema:
        command += ["--schema", schema]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    tokens = answer["usage"]["completion_tokens"]
    if tokens < options.tokens:
        sys.exit(f"the answer ended after {tokens} tokens: it does not show what {options.tokens} cost")
    return answer["timings"]["predicted_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--mmproj")
    parser.add_argument("--tokens", type=int, default=96, help="length of each answer (default: 96)")
    parser.add_argument("--rounds", type=int, default=5, help="medians count (default: 5)")
    parser.add_argument("--limn", default=HERE.parent / ".build/release/limn")
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(SCHEMA, file)
        file.flush()
        free, bound = [], []
        for _ in range(options.rounds):
            free.append(decoded(options, None))
            bound.append(decoded(options, file.name))
            print(f"{free[-1]:7.2f} tokens/s, with a schema {bound[-1]:7.2f}", file=sys.stderr)
    a, b = statistics.median(free), statistics.median(bound)
    print(f"{a:.2f} tokens/s without a schema, {b:.2f} with one: {b / a:.3f}")


if __name__ == "__main__":
    main()
