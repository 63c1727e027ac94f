"""Writes a full-size LLaVA pair in GGUF with made-up weights: DIR/NAME-f16.gguf and DIR/NAME-mmproj-f16.gguf.

Speed and memory depend on shapes and types, not on values, so no weights need to be downloaded.

use: random_pair.py NAME VOCABULARIES DIR      (VOCABULARIES: the folder models/ of llama.cpp's source)
"""

import sys
from pathlib import Path

import gguf
import numpy as np

from shapes import MODELS, VISION

generator = np.random.default_rng(1)
noise = 0.02 * generator.standard_normal(1 << 24, dtype=np.float32)


def random(*shape, dtype=np.float16):
    """Random numbers of deviation 0.02: one long list, repeated from a random start."""
    return np.resize(np.roll(noise, -int(generator.integers(noise.size))), shape).astype(dtype)


def copy_tokens(writer, path, vocabulary):
    """The tokenizer of a vocabulary-only GGUF file, padded to the size of the embedding table."""
    fillers = {
        "tokenizer.ggml.tokens": lambda i: f"<|filler_{i}|>",
        "tokenizer.ggml.scores": lambda i: -1e4,
        "tokenizer.ggml.token_type": lambda i: 3,  # control
    }
    add = {
        gguf.GGUFValueType.STRING: writer.add_string, gguf.GGUFValueType.BOOL: writer.add_bool,
        gguf.GGUFValueType.UINT32: writer.add_uint32,
    }
    for key, field in gguf.GGUFReader(path).fields.items():
        if not key.startswith("tokenizer."):
            continue
        value = field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            if key in fillers:
                value = (value + [fillers[key](i) for i in range(len(value), vocabulary)])[:vocabulary]
            writer.add_array(key, value)
        elif field.types[0] in add:
            add[field.types[0]](key, value)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_language_model(name, vocabularies, path):
    m = MODELS[name]
    hidden, ffn, kv = m["hidden"], m["ffn"], m["kv_heads"] * m["hidden"] // m["heads"]
    w = gguf.GGUFWriter(path, "llama", use_temp_file=True)  # otherwise all of it is held in memory
    w.add_name(name)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_context_length(m["context"])
    w.add_embedding_length(hidden)
    w.add_block_count(m["layers"])
    w.add_feed_forward_length(ffn)
    w.add_head_count(m["heads"])
    w.add_head_count_kv(m["kv_heads"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(m["theta"])
    w.add_rope_dimension_count(hidden // m["heads"])
    w.add_vocab_size(m["vocabulary"])
    copy_tokens(w, vocabularies / m["tokens"], m["vocabulary"])

    w.add_tensor("token_embd.weight", random(m["vocabulary"], hidden))
    w.add_tensor("output_norm.weight", np.ones(hidden, np.float32))
    w.add_tensor("output.weight", random(m["vocabulary"], hidden))
    for layer in range(m["layers"]):
        for norm in ["attn_norm", "ffn_norm"]:
            w.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(hidden, np.float32))
        for matrix, rows, columns in [
            ("attn_q", hidden, hidden), ("attn_k", kv, hidden), ("attn_v", kv, hidden), ("attn_output", hidden, hidden),
            ("ffn_gate", ffn, hidden), ("ffn_up", ffn, hidden), ("ffn_down", hidden, ffn),
        ]:
            w.add_tensor(f"blk.{layer}.{matrix}.weight", random(rows, columns))
    finish(w)


def write_projector(text_hidden, path):
    v = VISION
    hidden, ffn, positions = v["hidden"], v["ffn"], (v["side"] // v["patch"]) ** 2 + 1
    w = gguf.GGUFWriter(path, "clip")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_bool("clip.has_vision_encoder", True)
    w.add_bool("clip.has_text_encoder", False)
    w.add_bool("clip.has_llava_projector", True)
    w.add_string("clip.projector_type", "mlp")
    w.add_bool("clip.use_gelu", False)
    w.add_uint32("clip.vision.image_size", v["side"])
    w.add_uint32("clip.vision.patch_size", v["patch"])
    w.add_uint32("clip.vision.embedding_length", hidden)
    w.add_uint32("clip.vision.feed_forward_length", ffn)
    w.add_uint32("clip.vision.projection_dim", 768)
    w.add_uint32("clip.vision.attention.head_count", v["heads"])
    w.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    w.add_uint32("clip.vision.block_count", v["layers"])
    w.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    w.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])

    def vector(name, size, value=None):
        w.add_tensor(name, random(size, dtype=np.float32) if value is None else np.full(size, value, np.float32))

    def linear(name, rows, columns):
        w.add_tensor(name + ".weight", random(rows, columns))
        vector(name + ".bias", rows)

    def norm(name):
        vector(name + ".weight", hidden, 1)
        vector(name + ".bias", hidden)

    vector("v.class_embd", hidden)
    w.add_tensor("v.patch_embd.weight", random(hidden, 3, v["patch"], v["patch"]))
    w.add_tensor("v.position_embd.weight", random(positions, hidden, dtype=np.float32))
    norm("v.pre_ln")
    norm("v.post_ln")
    for layer in range(v["layers"]):
        for name in ["attn_q", "attn_k", "attn_v", "attn_out"]:
            linear(f"v.blk.{layer}.{name}", hidden, hidden)
        norm(f"v.blk.{layer}.ln1")
        norm(f"v.blk.{layer}.ln2")
        # llama.cpp swaps these two names: "down" is the first.
        linear(f"v.blk.{layer}.ffn_down", ffn, hidden)
        linear(f"v.blk.{layer}.ffn_up", hidden, ffn)
    linear("mm.0", text_hidden, hidden)
    linear("mm.2", text_hidden, text_hidden)
    finish(w)


if __name__ == "__main__":
    name, vocabularies, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    write_language_model(name, vocabularies, folder / f"{name}-f16.gguf")
    write_projector(MODELS[name]["hidden"], folder / f"{name}-mmproj-f16.gguf")
