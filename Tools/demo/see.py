"""First part of training: the vision tower learns to see, taught by hints.py.

    python3 Tools/demo/see.py FOLDER MINUTES

FOLDER/cache holds the chunks of cache.py. FOLDER/see.0.pt and see.1.pt are written every two minutes; a run that
finds them resumes from there.
"""

import os
import sys
import time

import torch
from transformers import CLIPVisionModel

import model
from data import Scenes
from hints import Hints
from optimise import Optimiser, agree, run

BATCH, RATE = 20, 1e-3  # the batch of each of the two processes


def work(rank, world, folder, seconds):
    torch.manual_seed(0)
    scenes = Scenes(os.path.join(folder, "cache"))
    # "eager": on CPUs, it is four times as fast for attention over 101 patches
    tower = CLIPVisionModel._from_config(model.config(1000, 3, 1, 2, 0).vision_config, attn_implementation="eager")
    hints = Hints(192)
    modules = torch.nn.ModuleList([tower, hints])
    optimiser = Optimiser(modules, RATE, rank, world, ("embed", "1."))
    path, step, spent = os.path.join(folder, f"see.{rank}.pt"), 0, 0.0
    if os.path.exists(path):
        saved = torch.load(path)
        modules.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    last, kept, total, right = time.time(), spent, 0.0, {}
    while spent < seconds:
        pixels, _, patches, facts = scenes.batch(step * world + rank, BATCH, hints=True)
        with torch.autocast("cpu", torch.bfloat16):
            features = tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
            loss, found = hints(features, patches, facts)
        loss.backward()
        optimiser.step(min(1, (step + 1) / 150) * max(0.1, 1 - spent / seconds))
        step += 1
        now = time.time()
        spent, last = agree(spent + now - last), now
        total += loss.item()
        for name, (a, b) in found.items():
            x, y = right.get(name, (0, 0))
            right[name] = (x + a, y + b)
        if step % 50 == 0 and rank == 0:
            print(step, f"{spent:.0f}s loss {total / 50:.3f}", len(scenes.files),
                  {name: round(a / max(1, b), 3) for name, (a, b) in right.items()}, flush=True)
            total, right = 0.0, {}
        if spent - kept > 120 or spent >= seconds:
            kept = spent
            torch.save({"model": modules.state_dict(), "optimiser": optimiser.state_dict(), "step": step,
                        "spent": spent}, path + ".new")
            os.replace(path + ".new", path)


if __name__ == "__main__":
    run(work, 2, 29511, sys.argv[1], 60 * float(sys.argv[2]))
