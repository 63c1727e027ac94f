"""Writes transformers' LLaVA with made-up weights in OpenVINO GenAI's format, the language model in 4 bits:
DIR/NAME-openvino.

use: openvino_model.py NAME DIR [LAYERS]
"""

import shutil
import sys
from pathlib import Path

import openvino
from openvino_tokenizers import convert_tokenizer
from optimum.intel import OVModelForVisualCausalLM, OVWeightQuantizationConfig
from tokenizers import Tokenizer, models
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from made_up import IMAGE_TOKEN, model
from shapes import MODELS, VISION

name, folder = sys.argv[1], Path(sys.argv[2])
whole, made = folder / f"{name}-bf16", folder / f"{name}-openvino"
model(name, int(sys.argv[3]) if len(sys.argv) > 3 else None).save_pretrained(whole)

# Arbitrary texts for the tokens: only their number matters.
pieces = {**{i: f"t{i}" for i in range(MODELS[name]["vocabulary"])}, 0: "<unk>", 1: "<s>", 2: "</s>", IMAGE_TOKEN: "<image>"}
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.BPE({text: id for id, text in pieces.items()}, [], unk_token="<unk>")),
    bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>", additional_special_tokens=["<image>"])
tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' ' }}{% endfor %}"
side = {"height": VISION["side"], "width": VISION["side"]}
processor = LlavaProcessor(
    CLIPImageProcessor(size={"shortest_edge": VISION["side"]}, crop_size=side), tokenizer, patch_size=VISION["patch"],
    vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=tokenizer.chat_template)
processor.save_pretrained(whole)
tokenizer.save_pretrained(whole)

OVModelForVisualCausalLM.from_pretrained(
    whole, export=True, compile=False,
    quantization_config=OVWeightQuantizationConfig(bits=4, sym=False, group_size=128)).save_pretrained(made)
processor.save_pretrained(made)
tokenizer.save_pretrained(made)
for part, ir in zip(["tokenizer", "detokenizer"], convert_tokenizer(tokenizer, with_detokenizer=True)):
    openvino.save_model(ir, made / f"openvino_{part}.xml")
shutil.rmtree(whole)
