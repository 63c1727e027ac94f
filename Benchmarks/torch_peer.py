"""One run of transformers' LLaVA on PyTorch in bfloat16, with random weights: prints a line of JSON.

use: torch_peer.py NAME THREADS
"""

import json
import sys
import time

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from shapes import MODELS, VISION

PROMPT, ANSWER = 600, 8

name, threads = sys.argv[1], int(sys.argv[2])
m, v = MODELS[name], VISION
torch.set_num_threads(threads)
torch.set_default_dtype(torch.bfloat16)

start = time.perf_counter()
config = LlavaConfig(
    # transformers leaves the last layer's output unused: one more layer than the GGUF file has.
    vision_config=CLIPVisionConfig(
        hidden_size=v["hidden"], intermediate_size=v["ffn"], num_hidden_layers=v["layers"] + 1,
        num_attention_heads=v["heads"], image_size=v["side"], patch_size=v["patch"], projection_dim=768),
    text_config=LlamaConfig(
        hidden_size=m["hidden"], intermediate_size=m["ffn"], num_hidden_layers=m["layers"],
        num_attention_heads=m["heads"], num_key_value_heads=m["kv_heads"], vocab_size=m["vocabulary"],
        max_position_embeddings=m["context"]),
    image_token_index=32)
with torch.device("meta"):
    model = LlavaForConditionalGeneration(config)
model = model.to_empty(device="cpu").eval()
for module in model.modules():  # what is computed at load, not stored
    if hasattr(module, "inv_freq"):
        half = m["hidden"] // m["heads"] // 2
        module.inv_freq = 1 / m["theta"] ** (torch.arange(half, dtype=torch.float32) / half)
    if hasattr(module, "position_ids"):
        module.position_ids = torch.arange(module.position_ids.shape[-1])[None]
generator = torch.Generator().manual_seed(0)
noise = 0.02 * torch.randn(1 << 22, generator=generator)
for parameter in model.parameters():
    flat = parameter.data.view(-1)
    for at in range(0, flat.numel(), noise.numel()):
        flat[at:at + noise.numel()] = noise[:flat.numel() - at]

pixels = torch.randn(1, 3, v["side"], v["side"], generator=generator)
with torch.inference_mode():
    def timed(body):
        begin = time.perf_counter()
        result = body()
        return result, time.perf_counter() - begin

    model.model.get_image_features(pixels)  # the first call also chooses kernels
    _, encode = timed(lambda: model.model.get_image_features(pixels))
    ids = torch.randint(100, m["vocabulary"], (1, PROMPT), generator=generator)
    step, prefill = timed(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1))
    begin = time.perf_counter()
    for _ in range(ANSWER):
        step = model(input_ids=step.logits[:, -1:].argmax(-1), past_key_values=step.past_key_values, use_cache=True)
    decode = time.perf_counter() - begin
print(json.dumps({"encode": encode, "prefill": PROMPT / prefill, "decode": ANSWER / decode}))
