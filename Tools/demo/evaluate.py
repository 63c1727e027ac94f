#!/usr/bin/env python3
"""How many answers are right, by language and kind, on scenes that training never saw.

    python3 Tools/demo/evaluate.py                              # transformers, seeds 1,000,000 to 1,000,499
    python3 Tools/demo/evaluate.py --limn .build/release/limn --count 20

Right means the very text, trimmed. Descriptions are also checked sentence by sentence. The exit status is 1 when a
language is under 98% or a kind of question under 95%.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from questions import questions, true_description
from scene import scene

MODEL = os.path.join(os.path.dirname(__file__), "../../Sources/Limn/Resources/limn-demo")


class Transformers:
    """All questions about one picture in one batch, greedily."""

    def __init__(self, folder):
        import torch
        from transformers import AutoProcessor, LlavaForConditionalGeneration
        self.torch = torch
        torch.set_num_threads(os.cpu_count() or 1)
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.reader = AutoProcessor.from_pretrained(folder, backend="pil")

    def answers(self, image, asked):
        prompts = [self.reader.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True) for question in asked]
        out = []
        for start in range(0, len(prompts), 64):
            part = prompts[start:start + 64]
            inputs = self.reader(images=[image] * len(part), text=part, padding=True, return_tensors="pt")
            with self.torch.no_grad():
                ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=96)
            out += self.reader.batch_decode(ids[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        return out


class Limn:
    """The command, once for each question."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def answers(self, image, asked):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "scene.png")
            image.save(path)
            out = []
            for question in asked:
                command = [self.binary, "ask", path, question, "--json", "--temperature", "0"]
                if self.folder:
                    command += ["--model", self.folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                out.append(json.loads(done.stdout)["text"])
            return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limn", help="the command to ask, instead of transformers")
    parser.add_argument("--model", help="the checkpoint's folder; default: the one that limn ships")
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--wrong", type=int, default=0, help="print so many wrong answers")
    arguments = parser.parse_args()
    model = Limn(arguments.limn, arguments.model) if arguments.limn else Transformers(arguments.model or MODEL)

    right, true, shown = {}, {}, 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        image, facts, _ = scene(seed)
        asked = questions(facts, seed)
        for item, answer in zip(asked, model.answers(image, [item["question"] for item in asked])):
            lang, kind, good = item["lang"], item["kind"], answer.strip() == item["answer"]
            for key in ((lang, "all"), (lang, kind)):
                a, b = right.get(key, (0, 0))
                right[key] = (a + good, b + 1)
            if kind == "describe":
                a, b = true.get(lang, (0, 0))
                true[lang] = (a + true_description(facts, answer), b + 1)
            if not good and shown < arguments.wrong:
                shown += 1
                print(seed, item["question"], "|", answer.strip(), "| right:", item["answer"], flush=True)

    missed = False
    langs = [lang for lang, kind in right if kind == "all"]
    print(f"{'kind':18}" + "".join(f"{lang:>20}" for lang in langs))
    for kind in dict.fromkeys(kind for _, kind in right):
        cells = ""
        for lang in langs:
            a, b = right[lang, kind]
            missed |= a < (0.98 if kind == "all" else 0.95) * b
            cells += f"{f'{a}/{b} = {100 * a / b:.1f}%':>20}"
        print(f"{kind:18}{cells}")
    print(f"{'true descriptions':18}" + "".join(f"{f'{a}/{b} = {100 * a / b:.1f}%':>20}" for a, b in true.values()))
    print("under the goal" if missed else "the goal is met")
    sys.exit(missed)


if __name__ == "__main__":
    main()
