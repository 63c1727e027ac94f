"""One run of transformers' LLaVA on PyTorch in bfloat16, with made-up weights: prints a line of JSON.

use: torch_peer.py NAME THREADS
"""

import json
import sys
import time

import torch

from made_up import model as made_up
from shapes import VISION

PROMPT, ANSWER = 600, 8

name, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = made_up(name)
pixels = torch.randn(1, 3, VISION["side"], VISION["side"])
ids = torch.randint(100, 32000, (1, PROMPT))


def timed(body):
    start = time.perf_counter()
    result = body()
    return result, time.perf_counter() - start


with torch.inference_mode():
    model.model.get_image_features(pixels)  # the first call also selects kernels
    _, encode = timed(lambda: model.model.get_image_features(pixels))

    def read():
        return model(input_ids=ids, use_cache=True, logits_to_keep=1)

    def answer(step):
        for _ in range(ANSWER):
            step = model(input_ids=step.logits[:, -1:].argmax(-1), past_key_values=step.past_key_values, use_cache=True)

    answer(read())  # so do the language model's first calls; llama-bench warms up as well
    step, prefill = timed(read)
    _, decode = timed(lambda: answer(step))
print(json.dumps({"encode": encode, "prefill": PROMPT / prefill, "decode": ANSWER / decode}))
