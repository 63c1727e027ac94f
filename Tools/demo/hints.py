"""Hints for the vision tower: what is where, predicted from each patch, and the facts, predicted from the patches' mean.

Language alone teaches a tower to see, but slowly: one word of loss for 100 patches. So training begins with
the tower and these two linear heads alone, and export drops the heads.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from drawing import ANIMALS, BUILDINGS, COLOURS, FLYING, VEHICLES

GRID = 10
THINGS = [*BUILDINGS, *ANIMALS, *VEHICLES, *FLYING, "person", "tree", "sun", "moon", "cloud"]
PLACE = {name: i for i, name in enumerate(THINGS)}
COLOUR = {name: i for i, name in enumerate(COLOURS)}
CHANNELS = 2 * len(THINGS) + len(COLOURS)  # covers the patch, has its middle in the patch, its colour


def _part(name, values, get):
    table = {value: i for i, value in enumerate(values)}
    return name, len(table), lambda facts: table.get(get(facts), -100)  # -100: not asked


_of = lambda thing, field: lambda facts: facts[thing].get(field) if facts[thing] else "none"
PARTS = [
    _part("time", ("day", "sunset", "night"), lambda f: f["time"]),
    _part("weather", ("clear", "cloudy", "rainy", "snowy"), lambda f: f["weather"]),
    _part("season", ("spring", "summer", "autumn", "winter"), lambda f: f["season"]),
    _part("trees", range(5), lambda f: f["trees"]),
    _part("building", ("none", *BUILDINGS), _of("building", "kind")),
    _part("building colour", COLOURS, _of("building", "colour")),
    _part("animal", ("none", *ANIMALS), _of("animal", "kind")),
    _part("animals", ("none", 1, 2, 3), _of("animal", "count")),
    _part("animal side", ("left", "right"), _of("animal", "side")),
    _part("people", ("none", 1, 2, 3), _of("person", "count")),
    _part("clothes", COLOURS, _of("person", "colour")),
    _part("vehicle", ("none", *VEHICLES), _of("vehicle", "kind")),
    _part("vehicle colour", COLOURS, _of("vehicle", "colour")),
    _part("vehicle side", ("left", "right"), _of("vehicle", "side")),
    _part("flying", ("none", *FLYING), _of("flying", "kind")),
    _part("above", (True, False), _of("flying", "above")),
]


def patch_target(facts, things):
    """bool [GRID * GRID, CHANNELS]; a thing's box is in units of 1/240 of the padded picture."""
    out = np.zeros((GRID, GRID, CHANNELS), bool)
    width, height = facts["size"]
    dx, dy = (120 * (1 - side / max(width, height)) for side in (width, height))
    edges = np.arange(GRID) * 24.0
    for name, x0, y0, x1, y1, colour in things:
        x = (np.minimum(edges + 24, x1 + dx) - np.maximum(edges, x0 + dx)).clip(0)
        y = (np.minimum(edges + 24, y1 + dy) - np.maximum(edges, y0 + dy)).clip(0)
        covered = np.outer(y, x) >= 0.3 * 576
        column, line = (int(min(GRID - 1, max(0, v // 24))) for v in ((x0 + x1) / 2 + dx, (y0 + y1) / 2 + dy))
        covered[line, column] = True
        out[covered, PLACE[name]] = True
        out[line, column, len(THINGS) + PLACE[name]] = True
        if colour:
            out[covered, 2 * len(THINGS) + COLOUR[colour]] = True
    return out.reshape(GRID * GRID, CHANNELS)


def fact_target(facts):
    return [get(facts) for _, _, get in PARTS]


class Hints(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.patch = nn.Linear(width, CHANNELS)
        self.fact = nn.Linear(2 * width, sum(size for _, size, _ in PARTS))

    def forward(self, features, patches, facts):
        """The loss, and for each part the number of correct facts and of all facts."""
        features = self.norm(features)
        seen = F.binary_cross_entropy_with_logits(self.patch(features).float(), patches.float(), reduction="none")
        pooled = torch.cat([features.mean(1), features.amax(1)], -1)
        logits = self.fact(pooled).float().split([size for _, size, _ in PARTS], -1)
        right, loss = {}, seen.mean() * CHANNELS / 4
        for (name, _, _), score, truth in zip(PARTS, logits, facts.unbind(1)):
            if (truth >= 0).any():
                loss = loss + F.cross_entropy(score, truth) / 4
            right[name] = (((score.argmax(-1) == truth) & (truth >= 0)).sum().item(), (truth >= 0).sum().item())
        return loss, right
