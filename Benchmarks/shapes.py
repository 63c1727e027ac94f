"""Shapes of real models, for files and programs with made-up weights."""

MODELS = {
    "llava-phi-3-mini": dict(
        layers=32, hidden=3072, ffn=8192, heads=32, kv_heads=32, vocabulary=32064, theta=1e4, context=4096,
        tokens="ggml-vocab-phi-3.gguf"),
    "llava-llama-3-8b": dict(
        layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, vocabulary=128256, theta=5e5, context=8192,
        tokens="ggml-vocab-llama-bpe.gguf"),
    "llava-llama-3-1b": dict(
        layers=16, hidden=2048, ffn=8192, heads=32, kv_heads=8, vocabulary=128256, theta=5e5, context=8192,
        tokens="ggml-vocab-llama-bpe.gguf"),
}
VISION = dict(layers=23, hidden=1024, ffn=4096, heads=16, side=336, patch=14)
