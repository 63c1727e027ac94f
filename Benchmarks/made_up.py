"""transformers' LLaVA with a real model's shapes and made-up weights, in bfloat16."""

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from shapes import MODELS, VISION

IMAGE_TOKEN = 32000


def model(name, layers=None):
    """layers: of the language model, if not as many as in the real one: for experiments."""
    m, v = MODELS[name], VISION
    torch.set_default_dtype(torch.bfloat16)
    config = LlavaConfig(
        # transformers leaves the last layer's output unused, so it has one more layer than the GGUF file.
        vision_config=CLIPVisionConfig(
            hidden_size=v["hidden"], intermediate_size=v["ffn"], num_hidden_layers=v["layers"] + 1,
            num_attention_heads=v["heads"], image_size=v["side"], patch_size=v["patch"], projection_dim=768),
        text_config=LlamaConfig(
            hidden_size=m["hidden"], intermediate_size=m["ffn"], num_hidden_layers=layers or m["layers"],
            num_attention_heads=m["heads"], num_key_value_heads=m["kv_heads"], vocab_size=m["vocabulary"],
            max_position_embeddings=m["context"]),
        image_token_index=IMAGE_TOKEN)
    with torch.device("meta"):
        result = LlavaForConditionalGeneration(config)
    result = result.to_empty(device="cpu").eval()
    for module in result.modules():  # values computed at load, not stored
        if hasattr(module, "inv_freq"):
            half = m["hidden"] // m["heads"] // 2
            module.inv_freq = 1 / m["theta"] ** (torch.arange(half, dtype=torch.float32) / half)
        if hasattr(module, "position_ids"):
            module.position_ids = torch.arange(module.position_ids.shape[-1])[None]
    noise = 0.02 * torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))
    # Each weight, and each piece of one, differs: OpenVINO stores equal ones once and would read them from the cache.
    place = 0
    for parameter in result.parameters():
        flat = parameter.data.view(-1)
        for at in range(0, flat.numel(), noise.numel()):
            place += 4099
            flat[at:at + noise.numel()] = noise.roll(place)[:flat.numel() - at]
    return result
