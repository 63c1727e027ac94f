"""Second part of training: the whole model learns to answer.

    python3 Tools/demo/train.py FOLDER MINUTES

FOLDER holds cache/ (cache.py) and see.0.pt (see.py). FOLDER/train.0.pt and train.1.pt are written every three
minutes; a run that finds them resumes from there. The learning rate falls linearly over the minutes.
"""

import os
import random
import sys
import time

import torch
from transformers import LlavaForConditionalGeneration

import model
from data import Scenes
from forward import forward, learn
from hints import Hints
from optimise import Optimiser, agree, run
from segments import TOKENIZER, pack, rows, tests
from text import BOS, EOS, IMAGE, PAD

BATCH, RATE, HINTS = 6, 1e-3, 0.3  # the batch of each of the two processes
FIRST, FIRST_BATCH = 0.25, 5  # for this part of the time only the language model learns, in small cheap steps
TOWER = 0.8  # factor of the tower's learning rate once it learns, too: a higher one disrupts it
VALIDATION = 440  # the chunk of cache.py with seeds from 901,120 on: neither trained on nor part of the final evaluation


def make():
    config = model.config(TOKENIZER.get_vocab_size(), IMAGE, BOS, EOS, PAD)
    config._attn_implementation = "eager"
    return LlavaForConditionalGeneration._from_config(config, attn_implementation="eager")


def validate(llava, scenes, first, count):
    """Correct and total answers by (language, kind), teacher-forced: correct means that greedy decoding gives it exactly."""
    found = {}
    for start in range(first, first + count, 10):
        pixels, notes = scenes.take(range(start, min(start + 10, first + count)))
        left = [list(tests(facts, start + i)) for i, (facts, _) in enumerate(notes)]
        while any(left):
            batch, tags = [], []
            for i, (facts, _) in enumerate(notes):
                arrays, tag = rows(None, None, iter(left[i]))
                left[i] = left[i][len(tag):]
                batch.append(arrays)
                tags.append(tag)
            tokens, learnt, pair, position, picture = pack(batch)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                _, hidden = forward(llava, pixels, tokens, pair, position, picture)
                _, right = learn(llava, hidden, tokens, learnt)
            for i, tag in enumerate(tags):
                for number, lang, kind in tag:
                    good, all_ = found.get((lang, kind), (0, 0))
                    found[lang, kind] = (good + right[i][pair[i] == number].all().item(), all_ + 1)
    return found


def report(found):
    langs = {}
    for (lang, _), (good, count) in found.items():
        a, b = langs.get(lang, (0, 0))
        langs[lang] = (a + good, b + count)
    whole = ", ".join(f"{lang} {100 * a / b:.1f}" for lang, (a, b) in langs.items())
    kinds = ", ".join(f"{kind} {100 * a / b:.0f}/{100 * c / d:.0f}" for kind, (a, b), (c, d) in (
        (kind, found["en", kind], found["zh-Hant", kind]) for lang, kind in found if lang == "en"))
    return f"{whole} ({kinds})"


def work(rank, world, folder, seconds):
    torch.manual_seed(0)
    scenes, held_out = Scenes(os.path.join(folder, "cache")), Scenes(os.path.join(folder, "validation"))
    llava = make()
    hints = Hints(192)
    see = torch.load(os.path.join(folder, "see.0.pt"))["model"]
    llava.model.vision_tower.load_state_dict({k[2:]: v for k, v in see.items() if k.startswith("0.")})
    hints.load_state_dict({k[2:]: v for k, v in see.items() if k.startswith("1.")})
    modules = torch.nn.ModuleList([llava, hints])
    optimiser = Optimiser(modules, RATE, rank, world, ("embed", "lm_head", "1."))
    mean = {name: p.detach().clone() for name, p in llava.named_parameters()}  # of the last few hundred steps
    path, step, pictures, spent = os.path.join(folder, f"train.{rank}.pt"), 0, 0, 0.0
    if os.path.exists(path):
        saved = torch.load(path)
        modules.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        mean, step, pictures, spent = (saved[name] for name in ("mean", "step", "pictures", "spent"))
    last, kept, tested, total, hinted, answered, good = time.time(), spent, spent, 0.0, 0.0, 0, 0
    while spent < seconds:
        number = 10_000_000 + step * world + rank
        frozen = spent < FIRST * seconds
        pixels, notes, patches, facts = scenes.batch(number, FIRST_BATCH if frozen else BATCH, hints=not frozen)
        r = random.Random(number)
        tokens, learnt, pair, position, picture = pack([rows(r, note[0])[0] for note in notes])
        with torch.autocast("cpu", torch.bfloat16):
            features, hidden = forward(llava, pixels, tokens, pair, position, picture, frozen)
            loss, right = learn(llava, hidden, tokens, learnt)
            hint = torch.zeros(()) if frozen else hints(features, patches, facts)[0]
        (loss + HINTS * hint).backward()
        optimiser.step(min(1, (step + 1) / 100) * max(0.02, 1 - spent / seconds) * (1 if frozen else TOWER))
        with torch.no_grad():
            keep = min(0.995, (step + 1) / (step + 10))
            for name, p in llava.named_parameters():
                mean[name].lerp_(p, 1 - keep)
        step, pictures = step + 1, pictures + world * len(notes)
        total, hinted = total + loss.item(), hinted + hint.item()
        answered, good = answered + learnt.sum().item(), good + (right & learnt).sum().item()
        now = time.time()
        spent, last = agree(spent + now - last), now
        if step % 50 == 0 and rank == 0:
            print(step, f"{spent:.0f}s loss {total / 50:.4f} hints {hinted / 50:.3f} tokens {100 * good / answered:.2f}%",
                  flush=True)
            total, hinted, answered, good = 0.0, 0.0, 0, 0
        if spent - kept > 180 or spent >= seconds:
            kept = spent
            torch.save({"model": modules.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean,
                        "step": step, "pictures": pictures, "spent": spent}, path + ".new")
            os.replace(path + ".new", path)
        if spent - tested > 400 or spent >= seconds:
            tested = spent
            if rank == 0 and len(held_out.files):
                own = {name: p.detach().clone() for name, p in llava.named_parameters()}
                llava.load_state_dict(mean, strict=False)
                print(step, f"{spent:.0f}s validation", report(validate(llava, held_out, 0, 60)), flush=True)
                llava.load_state_dict(own, strict=False)
    if rank == 0:
        print("steps", step, "pictures", pictures, "seconds", round(spent), flush=True)


if __name__ == "__main__":
    run(work, 2, 29512, sys.argv[1], 60 * float(sys.argv[2]))
