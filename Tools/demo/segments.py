"""Question-answer pairs of one picture, packed behind it: rows of tokens in which each pair sees only itself."""

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
WEIGHT = {"trees": 2, "animal": 2, "animal count": 1.5, "animal side": 3, "people": 1.5, "above": 3, "building": 1.5,
          "sky": 1.5, "clothes": 1.5, "vehicle side": 1.5, "is there": 2.5, "is it": 1.5, "mood": 2, "describe": 1}


@lru_cache(200000)
def ids(text):
    return TOKENIZER.encode(text, add_special_tokens=False).ids


def turn(question, answer, start=""):
    """Token ids of one turn after the start, and which of them are learnt."""
    asked, said = ids(start + question + " ASSISTANT:"), ids(" " + answer) + [EOS]
    return asked + said, [False] * len(asked) + [True] * len(said)


def pairs(r, facts):
    """Endless (ids, learnt, has a picture) about a scene, kinds drawn by weight without repeating too soon."""
    while True:
        asked = q.ask(facts, r)
        asked.sort(key=lambda item: r.random() ** (1 / WEIGHT.get(item[0], 1)), reverse=True)
        for i, (kind, slots, en, zh) in enumerate(asked):
            lang, (question, answer) = r.choice((("en", en), ("zh-Hant", zh)))
            question = vary(r, kind, lang, slots, question)
            roll = r.random()
            if roll < 0.02:
                heard, answer = r.choice(TALK)
                yield *turn(r.choice(heard), answer, " "), False
                continue
            if roll < 0.05:
                question, answer = absent(r, facts, lang)
            tokens, learnt = turn(question, answer)
            if r.random() < 0.12 and kind != "describe":  # a second turn, sometimes in the other language
                kind, slots, en, zh = r.choice(asked[:-1])
                if kind != "describe":
                    lang, (question, answer) = r.choice((("en", en), ("zh-Hant", zh)))
                    more = turn(vary(r, kind, lang, slots, question), answer, "USER: ")
                    tokens, learnt = tokens + more[0], learnt + more[1]
            yield tokens, learnt, True


def rows(r, facts, source=None):
    """Arrays [ROWS, LENGTH]: ids, learnt, which pair each token is of (-1: none), positions, and sees the picture."""
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
