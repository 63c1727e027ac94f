"""One run of OpenVINO GenAI with a picture: prints a line of JSON.

use: openvino_peer.py FOLDER THREADS
"""

import json
import sys
import time

import numpy
import openvino
import openvino_genai

folder, threads = sys.argv[1], int(sys.argv[2])
start = time.perf_counter()
pipeline = openvino_genai.VLMPipeline(folder, "CPU", INFERENCE_NUM_THREADS=threads)
opened = time.perf_counter() - start

options = openvino_genai.GenerationConfig()
options.max_new_tokens, options.ignore_eos = 64, True


def answer(seed):
    """The figures of an answer about a new picture."""
    pixels = numpy.random.default_rng(seed).integers(0, 255, (1, 512, 512, 3), dtype=numpy.uint8)
    text = " ".join(f"t{i}" for i in range(20))
    return pipeline.generate(text, images=[openvino.Tensor(pixels)], generation_config=options).perf_metrics


first, second = answer(1), answer(2)
encode = second.get_prepare_embeddings_duration().mean / 1e3
print(json.dumps({
    "open": opened, "encode": encode, "decode": 1e3 / second.get_tpot().mean,
    "prefill": second.get_num_input_tokens() / (second.get_ttft().mean / 1e3 - encode),
    "first_word": opened + first.get_ttft().mean / 1e3,
}))
