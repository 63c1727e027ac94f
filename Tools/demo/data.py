"""Batches of cached scenes (see cache.py), in an order that depends only on the step."""

import glob
import json
import os
import pickle

import numpy as np
import torch

from hints import fact_target, patch_target

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


class Scenes:
    def __init__(self, folder):
        self.folder, self.files, self.pixels, self.notes, self.above = folder, [], [], [], []
        self.look()

    def look(self):
        """Opens the chunks that have appeared since the last call."""
        for path in sorted(glob.glob(os.path.join(self.folder, "[0-9]*[0-9].npy"))):
            if path not in self.files:
                self.files.append(path)
                self.pixels.append(np.load(path, mmap_mode="r"))
                with open(path[:-4] + ".json") as file:
                    # pickled one by one: compact, and nothing for the garbage collector to traverse
                    notes = json.load(file)
                self.notes += [pickle.dumps(note) for note in notes]
                self.above += ["above" in (facts["flying"] or ()) for facts, _ in notes]

    def take(self, chosen):
        chunk = len(self.pixels[0])
        pixels = torch.from_numpy(np.stack([self.pixels[i // chunk][i % chunk] for i in chosen]))
        pixels = (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
        return pixels, [pickle.loads(self.notes[i]) for i in chosen]

    def batch(self, step, size, hints=False):
        if step % 100 < 2:
            self.look()
        r = np.random.Generator(np.random.PCG64(step))
        chosen = r.integers(0, len(self.notes), (size, 2))  # of two, prefers one that allows "above", which is slow to learn
        pixels, notes = self.take([a if self.above[a] else b for a, b in chosen])
        if not hints:
            return pixels, notes, None, None
        patches = torch.from_numpy(np.stack([patch_target(*note) for note in notes]))
        return pixels, notes, patches, torch.tensor([fact_target(note[0]) for note in notes])
