"""Computes a GGUF projector file's features from its tensors and metadata alone, in NumPy, for checks of readers."""
from math import erf

import numpy as np
from gguf import GGUFReader, quants


def read(path):
    reader = GGUFReader(path)
    keys = {k.removeprefix("clip."): f.contents() for k, f in reader.fields.items()}
    tensors = {t.name: np.array(quants.dequantize(t.data, t.tensor_type), np.float64).reshape(t.shape[::-1])
               for t in reader.tensors}
    return keys, tensors


def side(path):
    return int(read(path)[0]["vision.image_size"])


def tanh_gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def erf_gelu(x):
    return x / 2 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def quick_gelu(x):
    return x / (1 + np.exp(-1.702 * x))


def features(path, pixels, as_llama=False):
    """[3, side, side] → [features, width].

    `as_llama` computes as llama.cpp does (0.3.36 of its Python package): every GELU is the tanh one, and CLIP's class
    token comes after the patches, while positions and features are counted as if it came before them.
    """
    keys, w = read(path)
    keys = {k.removeprefix("vision."): v for k, v in keys.items()}
    eps, patch, heads = keys["attention.layer_norm_epsilon"], int(keys["patch_size"]), int(keys["attention.head_count"])
    has_class = "v.class_embd" in w
    gelu = tanh_gelu if as_llama or not has_class else erf_gelu
    act = gelu if keys["use_gelu"] else quick_gelu

    def linear(x, name):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def norm(x, name, eps=eps):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + eps) * w[name + ".weight"] + w[name + ".bias"]

    n = pixels.shape[1] // patch
    x = pixels[:, : n * patch, : n * patch].astype(np.float64).reshape(3, n, patch, n, patch)
    kernel = w["v.patch_embd.weight"]
    x = x.transpose(1, 3, 0, 2, 4).reshape(n * n, -1) @ kernel.reshape(len(kernel), -1).T
    x = x + w.get("v.patch_embd.bias", 0)
    if has_class:
        token = w["v.class_embd"].reshape(1, -1)
        x = np.concatenate([x, token] if as_llama else [token, x])
    x = x + w["v.position_embd.weight"]
    if "v.pre_ln.weight" in w:
        x = norm(x, "v.pre_ln")
    wanted, found = [int(k) for k in np.atleast_1d(keys["feature_layer"])], {0: x}
    swapped = w["v.blk.0.ffn_down.weight"].shape[1] == x.shape[1]
    first, second = ("ffn_down", "ffn_up") if swapped else ("ffn_up", "ffn_down")
    for k in range(max(wanted)):
        block = f"v.blk.{k}."
        y = norm(x, block + "ln1")
        q, key, value = (linear(y, block + f"attn_{c}").reshape(len(y), heads, -1).transpose(1, 0, 2) for c in "qkv")
        scores = q @ key.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True)) @ value
        x = x + linear(y.transpose(1, 0, 2).reshape(x.shape), block + "attn_out")
        x = x + linear(act(linear(norm(x, block + "ln2"), block + first)), block + second)
        found[k + 1] = x
    x = np.concatenate([found[k] for k in wanted], -1)[1 if has_class else 0:]
    between = tanh_gelu if as_llama else erf_gelu
    if "mm.4.weight" in w:
        return norm(linear(between(norm(linear(x, "mm.0"), "mm.1")), "mm.3"), "mm.4")
    return linear(between(linear(x, "mm.0")), "mm.2")
