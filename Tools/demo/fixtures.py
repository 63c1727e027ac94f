#!/usr/bin/env python3
"""Writes Tests/Fixtures/Demo: 200 scenes that the model never saw, each with one question in both languages.

    python Tools/demo/fixtures.py

WebP at quality 92 keeps the pictures small: because of the scenes' noise, lossless files would take 20 MB.
"""
import json
import shutil
from pathlib import Path

from questions import questions
from scene import scene

FOLDER = Path(__file__).resolve().parents[2] / "Tests/Fixtures/Demo"
FIRST, COUNT = 1_000_000, 200


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    rows = []
    for number in range(COUNT):
        seed = FIRST + number
        picture, facts, _ = scene(seed)
        asked = questions(facts, seed)
        picture.save(FOLDER / f"{seed}.webp", quality=92, method=6)
        kinds = sorted({q["kind"] for q in asked})
        kind = kinds[number % len(kinds)]
        for language in ("en", "zh-Hant"):
            row = next(q for q in asked if q["kind"] == kind and q["lang"] == language)
            rows.append({"image": f"{seed}.webp", **row})
    with open(FOLDER / "questions.json", "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
