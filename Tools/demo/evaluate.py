#!/usr/bin/env python3
"""Counts correct answers, by language and kind, on scenes that training never saw.

    python3 Tools/demo/evaluate.py                              # transformers, seeds 1,000,000 to 1,000,499
    python3 Tools/demo/evaluate.py --limn .build/release/limn --count 20

Correct means exactly the expected text, trimmed. Descriptions are separate: checked sentence by sentence for truth, and
also shown under "describe" if they are the canonical text. The exit status is 1 if a language is under 98% or a kind of
question under 95%.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from questions import KINDS, descriptions, questions, true_description
from scene import scene

MODEL = os.path.join(os.path.dirname(__file__), "../../Sources/Limn/Resources/limn-demo")
TOGETHER = 10  # scenes at a time


class Transformers:
    """Greedy answers in batches; an image with many questions is prepared once."""

    def __init__(self, folder):
        import torch
        from transformers import AutoProcessor, LlavaForConditionalGeneration
        self.torch = torch
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.reader = AutoProcessor.from_pretrained(folder, backend="pil")
        self.places = self.reader.image_token * self.model.config.image_seq_length

    def answers(self, images, asked):
        pixels = self.reader.image_processor(images, return_tensors="pt")["pixel_values"]
        prompts = [self.reader.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True).replace(self.reader.image_token, self.places) for _, question in asked]
        out = []
        with self.torch.no_grad():
            features = self.torch.stack(self.model.get_image_features(pixels).pooler_output)
            for start in range(0, len(prompts), 96):
                which = [image for image, _ in asked[start:start + 96]]
                inputs = self.reader.tokenizer(prompts[start:start + 96], padding=True, return_tensors="pt")
                embeddings = self.model.get_input_embeddings()(inputs["input_ids"])
                place = inputs["input_ids"] == self.reader.image_token_id
                embeddings[place] = features[which].flatten(0, 1)
                ids = self.model.generate(inputs_embeds=embeddings, attention_mask=inputs["attention_mask"],
                                          do_sample=False, max_new_tokens=96)
                out += self.reader.batch_decode(ids, skip_special_tokens=True)
        return out


class Limn:
    """Runs the command once for each question."""

    def __init__(self, binary, folder):
        self.command = [binary, "ask", "--json", "--temperature", "0"] + (["--model", folder] if folder else [])

    def answers(self, images, asked):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, f"{i}.png") for i in range(len(images))]
            for image, path in zip(images, paths):
                image.save(path)
            return [json.loads(subprocess.run(self.command + [paths[image], question], capture_output=True, text=True,
                                              check=True).stdout)["text"] for image, question in asked]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limn", help="the command to ask, instead of transformers")
    parser.add_argument("--model", help="the checkpoint's folder; default: the one that limn ships")
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--wrong", type=int, default=0, help="the number of wrong answers to print")
    arguments = parser.parse_args()
    model = Limn(arguments.limn, arguments.model) if arguments.limn else Transformers(arguments.model or MODEL)

    right, true, shown = {}, {}, 0
    last = arguments.first + arguments.count
    for first in range(arguments.first, last, TOGETHER):
        scenes = [scene(seed) for seed in range(first, min(first + TOGETHER, last))]
        asked = [(i, item) for i, (_, facts, _) in enumerate(scenes)
                 for item in questions(facts, first + i) + descriptions(facts)]
        asked.sort(key=lambda pair: (pair[1]["kind"] == "describe", len(pair[1]["answer"])))  # similar ones in one batch
        answers = model.answers([image for image, _, _ in scenes], [(i, item["question"]) for i, item in asked])
        for (i, item), answer in zip(asked, answers):
            lang, kind, good = item["lang"], item["kind"], answer.strip() == item["answer"]
            for key in ((lang, kind),) if kind == "describe" else ((lang, kind), (lang, "all")):
                a, b = right.get(key, (0, 0))
                right[key] = (a + good, b + 1)
            if kind == "describe":
                a, b = true.get(lang, (0, 0))
                true[lang] = (a + true_description(scenes[i][1], answer), b + 1)
            if not good and shown < arguments.wrong:
                shown += 1
                print(first + i, item["question"], "|", answer.strip(), "| right:", item["answer"], flush=True)

    missed = False
    langs = sorted({lang for lang, _ in right})
    print(f"{'kind':18}" + "".join(f"{lang:>20}" for lang in langs))
    for kind in [kind for kind in (*KINDS, "all") if (langs[0], kind) in right]:
        cells = ""
        for lang in langs:
            a, b = right[lang, kind]
            missed |= kind != "describe" and a < (0.98 if kind == "all" else 0.95) * b
            cells += f"{f'{a}/{b} = {100 * a / b:.1f}%':>20}"
        print(f"{kind:18}{cells}")
    print(f"{'true descriptions':18}" + "".join(f"{f'{a}/{b} = {100 * a / b:.1f}%':>20}" for a, b in (true[lang] for lang in langs)))
    print("under the goal" if missed else "the goal is met")
    sys.exit(missed)


if __name__ == "__main__":
    main()
