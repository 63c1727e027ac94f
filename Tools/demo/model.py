"""The shape of limn-demo: a CLIP tower, a projector and a Llama, all as in transformers."""

from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

SIZE, PATCH = 120, 12


def config(vocabulary, image_token, bos, eos, pad):
    vision = CLIPVisionConfig(
        hidden_size=192, intermediate_size=640, num_hidden_layers=5, num_attention_heads=6, image_size=SIZE,
        patch_size=PATCH, projection_dim=192, hidden_act="quick_gelu", initializer_range=0.02)
    text = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, bos_token_id=bos, eos_token_id=eos, pad_token_id=pad)
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image_token, image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_layer=-1, vision_feature_select_strategy="default", projector_hidden_act="gelu",
        tie_word_embeddings=True)
