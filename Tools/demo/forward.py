"""The forward pass of training: transformers' own modules, but one picture serves many questions.

The picture's prefix runs once; every row of question-answer pairs attends to it and to itself. The weights are
transformers', and export.py checks that transformers computes the same logits from them.
"""

import torch
from torch.nn import functional as F

from segments import LENGTH, PREFIX, ROWS, SHORT
from text import IMAGE, PATCHES

FAR = -1e4


def turned(x, cos, sin):
    """Rotary position embedding of [batch, heads, tokens, size]."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def attend(layer, x, cos, sin, masks):
    attention, (b, t, _) = layer.self_attn, x.shape
    size = attention.head_dim
    heads = lambda y: y.view(b, t, -1, size).transpose(1, 2)
    q, k, v = heads(attention.q_proj(x)), heads(attention.k_proj(x)), heads(attention.v_proj(x))
    q, k = turned(q, cos, sin).to(v.dtype) * size ** -0.5, turned(k, cos, sin).to(v.dtype)
    k, v = (y.repeat_interleave(attention.num_key_value_groups, 1) for y in (k, v))
    n, h = len(PREFIX), q.shape[1]
    causal, own, picture = masks
    q0, k0, v0 = q[:, :, :n], k[:, :, :n], v[:, :, :n]
    first = ((q0 @ k0.transpose(-1, -2)) + causal).softmax(-1) @ v0
    q1 = q[:, :, n:]
    row = lambda y: y[:, :, n:].reshape(b, h, ROWS, LENGTH, size)
    to_prefix = (q1 @ k0.transpose(-1, -2)).view(b, h, ROWS, LENGTH, n) + picture
    to_own = row(q) @ row(k).transpose(-1, -2) + own
    weights = torch.cat((to_prefix, to_own), -1).softmax(-1)
    rest = weights[..., n:] @ row(v) + (weights[..., :n].reshape(b, h, -1, n) @ v0).view(b, h, ROWS, LENGTH, size)
    out = torch.cat((first, rest.reshape(b, h, -1, size)), 2)
    return out.transpose(1, 2).reshape(b, t, -1).to(x.dtype)


def masks_of(pair, picture, dtype):
    n = len(PREFIX)
    causal = torch.full((n, n), FAR, dtype=dtype).triu(1)
    same = (pair[..., :, None] == pair[..., None, :]) & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    own = torch.zeros(same.shape, dtype=dtype).masked_fill(~same, FAR)[:, None]
    sees = picture[..., None] | (torch.arange(n) < SHORT)
    return causal, own, torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, FAR)[:, None]


def forward(llava, pixels, tokens, pair, position, picture, frozen=False):
    """(the tower's features, hidden states of the rows' tokens [batch, ROWS * LENGTH, width]); the tower may be frozen."""
    llava = llava.model
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        features = llava.vision_tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
    text, b, n = llava.language_model, len(pixels), len(PREFIX)
    prefix = text.embed_tokens(torch.tensor(PREFIX)).expand(b, -1, -1)
    at = PREFIX.index(IMAGE)
    images = llava.multi_modal_projector(features).to(prefix.dtype)
    x = torch.cat((prefix[:, :at], images, prefix[:, at + PATCHES:], text.embed_tokens(tokens.flatten(1))), 1)
    position = torch.cat((torch.arange(n).expand(b, -1), position.flatten(1)), 1)
    cos, sin = (y[:, None] for y in text.rotary_emb(x, position))
    masks = masks_of(pair, picture, torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype)
    for i, layer in enumerate(text.layers):
        out = attend(layer, layer.input_layernorm(x), cos, sin, masks)
        if i == len(text.layers) - 1:
            x, out = x[:, n:], out[:, n:]  # nothing reads the prefix any more
        x = x + layer.self_attn.o_proj(out)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return features, text.norm(x)


def learn(llava, hidden, tokens, learnt):
    """Mean loss of the learnt tokens, and which tokens greedy decoding would get right: bool, shaped like tokens."""
    flat, taught = tokens.flatten(1), learnt.flatten(1)
    b, t = (taught[:, 1:]).nonzero(as_tuple=True)  # the token at t + 1 is predicted at t
    logits = F.linear(hidden[b, t], llava.lm_head.weight).float()
    truth = flat[b, t + 1]
    right = torch.ones_like(taught)
    right[b, t + 1] = logits.argmax(-1) == truth
    return F.cross_entropy(logits, truth), right.view_as(tokens)
