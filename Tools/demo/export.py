"""Writes the trained model as transformers does, rounded to 16 bits, and checks it against training.

    python3 Tools/demo/export.py FOLDER/train.0.pt Sources/Limn/Resources/limn-demo [float16|bfloat16]
"""

import copy
import os
import sys

import numpy as np
import torch
from PIL import Image
from transformers import (AutoProcessor, GenerationConfig, LlavaForConditionalGeneration, LlavaProcessor,
                          PreTrainedTokenizerFast)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from cache import see
from data import MEAN, STD
from model import PATCH, SIZE
from scene import scene
from text import BOS, EOS, IMAGE, PAD, TEMPLATE, build
from train import make


def processor():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build(), bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=["<image>"], model_max_length=2048, clean_up_tokenization_spaces=False,
        padding_side="left")
    tokenizer.chat_template = TEMPLATE
    images = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE},
        image_mean=OPENAI_CLIP_MEAN, image_std=OPENAI_CLIP_STD)
    return LlavaProcessor(images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
                          chat_template=TEMPLATE, num_additional_image_tokens=1)


def main():
    source, folder, kind = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3] if len(sys.argv) > 3 else "float16")
    saved = torch.load(source)
    llava = make()
    missing = llava.load_state_dict(saved["mean"], strict=False).missing_keys
    assert set(missing) <= {"lm_head.weight"}, missing
    for p in llava.parameters():
        p.data = p.data.to(kind).float()
    os.makedirs(folder, exist_ok=True)
    small = copy.deepcopy(llava).to(kind)  # a copy, since this also rounds the table of rotary frequencies
    small.generation_config = GenerationConfig(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, max_new_tokens=96)
    small.save_pretrained(folder)
    whole = processor()
    whole.save_pretrained(folder)
    whole.image_processor.save_pretrained(folder)  # preprocessor_config.json, for readers of the older layout
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)

    # The model that transformers loads must see the same pixels and give the same answers as the weights in memory.
    loaded = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    reader = AutoProcessor.from_pretrained(folder, backend="pil")
    for seed in range(900_000, 900_008):
        image = scene(seed)[0]
        inputs = reader(images=image, text=reader.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What season is it?"}]}],
            add_generation_prompt=True), return_tensors="pt")
        pixels = (torch.from_numpy(np.array(see(image))).permute(2, 0, 1).float() / 255 - MEAN) / STD
        assert torch.allclose(inputs["pixel_values"][0], pixels, atol=1e-5), "the processor sees other pixels"
        with torch.no_grad():
            other = llava(**inputs).logits
            assert torch.allclose(loaded(**inputs).logits, other, atol=1e-4), "the file says something else"
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    print(folder, "step", saved["step"], sum(p.numel() for p in llava.parameters()), "parameters", size, "bytes")
    assert size <= 10_000_000, "larger than 10 MB"


if __name__ == "__main__":
    main()
