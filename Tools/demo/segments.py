"""Question-answer pairs of one picture, packed after it: rows of tokens in which each pair sees only itself."""

import random
from functools import lru_cache

import numpy as np
import torch

import questions as q
from phrasings import TALK, absent, vary
from text import BOS, EOS, IMAGE, PAD, PATCHES, build

ROWS, LENGTH = 4, 56
TOKENIZER = build()
PREFIX = [BOS, *TOKENIZER.encode("USER: ", add_special_tokens=False).ids, *[IMAGE] * PATCHES,
          *TOKENIZER.encode("\n", add_special_tokens=False).ids]
SHORT = 3  # how much of the prefix a pair without a picture sees: <s>, USER, :

# Kinds that are learnt last are asked more often.
WEIGHT = {"time": 0.4, "weather": 0.4, "season": 0.4, "building colour": 0.7, "vehicle": 0.7, "vehicle colour": 0.7,
          "trees": 2, "animal": 2, "animal count": 1.5, "people": 2.5, "animal side": 5, "above": 5, "flying side": 5, "clothes": 4,
          "is there": 2, "is it": 2, "vehicle side": 1.5, "describe": 1.3}


@lru_cache(200000)
def ids(text):
    return TOKENIZER.encode(text, add_special_tokens=False).ids


def turn(question, answer, start=""):
    """Token ids of one turn after the start, and a mask of the learnt ones."""
    asked, said = ids(start + question + " ASSISTANT:"), ids(" " + answer) + [EOS]
    return asked + said, [False] * len(asked) + [True] * len(said)


def pairs(r, facts):
    """(ids, learnt, has a picture) about a scene: each kind in each language, in a weighted random order.

    Yes-no questions come several times, mostly about different things: comparing is learnt last of all.
    """
    asked = q.ask(facts, r)
    asked += [item for item in q.ask(facts, r) if item[0] in ("is there", "is it", "above")]
    once = [(kind, slots, lang, *pair) for kind, slots, en, zh in asked for lang, pair in (("en", en), ("zh-Hant", zh))]
    once.sort(key=lambda item: r.random() ** (1 / WEIGHT.get(item[0], 1)), reverse=True)
    for kind, slots, lang, question, answer in once:
        question = vary(r, kind, lang, slots, question)
        roll = r.random()
        if roll < 0.015:
            heard, answer = r.choice(TALK)
            yield *turn(r.choice(heard), answer, " "), False
            continue
        if roll < 0.04:
            question, answer = absent(r, facts, lang)
        tokens, learnt = turn(question, answer)
        if r.random() < 0.1 and kind != "describe":  # a second turn, sometimes in the other language
            kind, slots, lang, question, answer = r.choice(once)
            if kind != "describe":
                more = turn(vary(r, kind, lang, slots, question), answer, "USER: ")
                tokens, learnt = tokens + more[0], learnt + more[1]
        yield tokens, learnt, True


def rows(r, facts, source=None):
    """Arrays [ROWS, LENGTH]: ids, learnt, the pair of each token (-1: none), positions, and whether it sees the picture."""
    out = [np.full((ROWS, LENGTH), PAD), np.zeros((ROWS, LENGTH), bool), np.full((ROWS, LENGTH), -1),
           np.zeros((ROWS, LENGTH), int), np.ones((ROWS, LENGTH), bool)]
    used, misses, tags = [0] * ROWS, 0, []
    for number, (tokens, learnt, picture, *tag) in enumerate(source or pairs(r, facts)):
        n = len(tokens)
        fits = [row for row in range(ROWS) if used[row] + n <= LENGTH]
        if not fits:
            misses += 1
            if misses > 6 or source:
                break
            continue
        row, at = fits[0], used[fits[0]]
        span = slice(at, at + n)
        start = len(PREFIX) if picture else SHORT
        for array, value in zip(out, (tokens, learnt, number, np.arange(start, start + n), picture)):
            array[row, span] = value
        used[row] += n
        tags.append((number, *tag))
    return out, tags


def pack(batch):
    return [torch.from_numpy(np.stack(arrays)) for arrays in zip(*batch)]


def tests(facts, seed):
    """The canonical questions in both languages as pairs for rows(), tagged with language and kind."""
    for kind, _, en, zh in q.ask(facts, random.Random(seed)):
        for lang, (question, answer) in (("en", en), ("zh-Hant", zh)):
            yield *turn(question, answer), True, lang, kind
