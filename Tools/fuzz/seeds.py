"""Gathers the fuzzers' seeds from the test fixtures: DIR/<parser>/<file>, each of at most 8 KB.

use: seeds.py DIR
"""

import json
import struct
import sys
from hashlib import sha1
from pathlib import Path

LARGEST = 8192
fixtures = Path(__file__).resolve().parents[2] / "Tests/Fixtures"
folder = Path(sys.argv[1])


def add(parser, data):
    if isinstance(data, str):
        data = data.encode(errors="surrogatepass")
    if len(data) <= LARGEST:
        (folder / parser).mkdir(parents=True, exist_ok=True)
        (folder / parser / sha1(data).hexdigest()).write_bytes(data)


def strings(value):
    """All strings anywhere in a JSON value."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from strings(part)


def without_tensors(data):
    """A GGUF file's metadata alone, as in a vocabulary-only file."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    pairs, at = struct.unpack_from("<Q", data, 16)[0], 24

    def value(kind, at):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind != 9:
            return at + sizes[kind]
        kind, count = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(count):
            at = value(kind, at)
        return at

    for _ in range(pairs):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = value(struct.unpack_from("<I", data, at)[0], at + 4)
    return data[:8] + bytes(8) + data[16:at]


def load(name):
    return json.loads((fixtures / name).read_text())


for path in sorted(fixtures.rglob("*")):
    if "Fuzz" in path.parts or not path.is_file():
        continue
    if path.suffix == ".gguf":
        add("gguf", path.read_bytes())
        add("gguf", without_tensors(path.read_bytes()))
    elif path.suffix in [".safetensors", ".bin"]:
        add("safetensors" if path.suffix == ".safetensors" else "pytorch", path.read_bytes())
    elif path.name in ["tokenizer.json", "tokenizer.model"]:
        add("tokenizer" if path.suffix == ".json" else "sentencepiece", path.read_bytes())
    elif path.suffix == ".json":
        add("json", path.read_bytes())
        if path.name == "config.json":
            add("config", path.read_bytes())
for text in strings(load("Files/json.json")):
    add("json", text)
for case in load("Files/configs.json"):
    add("config", json.dumps(case["config"]))
for template in strings(load("Templates/prompts.json")["templates"]):
    add("template", template)
for name in ["expressions", "statements"]:
    for source, _ in load(f"Templates/{name}.json"):
        add("template", source)
