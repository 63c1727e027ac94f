"""Checks `limn convert` and `limn quantize` against llama.cpp and transformers.

    venv/bin/python -P Tools/checks/conversion.py [--limn .build/release/limn] [--llama FOLDER_OF_LLAMA_BINARIES]

Needs Tools/requirements.txt. `--llama` names a folder with llama.cpp's libraries, llama-quantize and llama-mtmd-cli;
without it, the checks that need them are skipped. Every line ends in "ok" or "FAILED"; the exit code is the number of
failures.

1. → gguf: llama.cpp's tokens, logits and greedy text equal those of transformers on the original (language models).
2. → hf: transformers' logits on the result, for text and for an image, equal those of transformers on the original, or
   of limn if transformers cannot read the original; for every layout of docs/formats.md.
3. quantize: every tensor has the type that llama-quantize gives it, and no larger error.
4. towers: llama.cpp's image features equal those of projectors.py on the same projector file, and llama.cpp refuses
   the files that it would compute incorrectly.
5. mtmd: llama-mtmd-cli opens the demo model's pair and answers.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Tools/fixtures"), str(ROOT / "Tools/checks")]
CHECKPOINTS = ROOT / "Tests/Fixtures/Models/checkpoints"
CASES = ROOT / "Tests/Fixtures/Models/cases"
DEMO = ROOT / "Sources/Limn/Resources/limn-demo"
TEXT = "USER: What colour is the house? Two dogs, 1234 cats!\nASSISTANT:"
# Checkpoints that transformers reads itself, and those that it cannot read.
READABLE = ["phi3-longrope", "next-llama", "siglip", "siglip-default", "vipllava", "vipllava-layers"]
OTHERS = ["original-mistral", "original-tuned-tower", "original-bin", "original-next", "bakllava", "mipha",
          "llava-phi-fused", "llava-phi-split", "lora-original", "lora-whole", "projector-only", "xtuner-whole",
          "xtuner-lora", "phi2", "bnb-nf4", "bnb-int8"]
PROJECTORS = ["recent", "oldest", "complete", "next", "next-recent"]
failures = 0


def say(what, good, detail=""):
    global failures
    failures += not good
    print(f"{what}: {detail}{' ' if detail else ''}{'ok' if good else 'FAILED'}", flush=True)


def limn(*arguments):
    done = subprocess.run([options.limn, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def distance(got, expected):
    """The largest difference, in standard deviations of the expected values."""
    return float(np.abs(got - expected).max() / expected.std())


# -- transformers

def opened(folder):
    import torch
    from transformers import AutoModelForImageTextToText

    model, info = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
    strays = {k: [n for n in v if not str(n).endswith("lm_head.bias")] for k, v in info.items() if k != "error_msgs"}
    strays = {k: v for k, v in strays.items() if v}
    say(f"{Path(folder).name}: transformers finds every tensor", not strays, str(strays) if strays else "")
    return model.eval()


def text_logits(model, ids):
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float().numpy()


def limn_logits(source, ids, work):
    limn("debug", "logits", "--model", source, "--input-ids", ",".join(map(str, ids)), "--output", work / "limn.npy")
    return np.load(work / "limn.npy")


def tokens(folder, text):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)(text)["input_ids"]


# -- the checks

def to_gguf(source, work):
    """Text only: the language model by itself. llama.cpp multiplies in float32 here, except for its tables."""
    from modelkit.llamacpp import LlamaCpp

    name = source.name
    limn("convert", source, "--to", "gguf", "--type", "f32", "--output", work / "pair.gguf", "--force")
    llama = LlamaCpp(work / "pair.gguf")
    ids = tokens(source, TEXT)
    say(f"{name} → gguf: tokens", llama.tokenize(TEXT) == ids, f"{len(ids)} tokens")
    text = json.loads((source / "config.json").read_text())["text_config"]
    # llama.cpp ignores Phi-3's sliding window, and transformers' LLaVA ignores the bias of Phi-2's output head.
    ids = ids[:text.get("sliding_window") or 64]
    if text["model_type"] == "phi":
        expected = limn_logits(source, ids, work)
    else:
        model = opened(source)
        expected = text_logits(model, ids)
    error = distance(llama.logits(ids), expected)
    say(f"{name} → gguf: logits", error < 2e-3, f"{error:.1e}")
    if text.get("sliding_window") or text["model_type"] == "phi":
        return
    greedy = list(ids)
    for _ in range(16):
        greedy.append(int(text_logits(model, greedy)[-1].argmax()))
    say(f"{name} → gguf: greedy text", llama.greedy(ids, 16) == greedy[len(ids):])


def head_bias(folder):
    """Phi-2's, which transformers' LLaVA classes do not add."""
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors").get("language_model.lm_head.bias", np.float32(0))


def to_hf(source, work, reference=None, mmproj=None):
    """Text, then an image through transformers' own processor on the result."""
    name = source.name if mmproj is None else mmproj.name
    parts = ["--mmproj", mmproj] if mmproj else []
    out = work / f"{name}-hf"
    limn("convert", source, "--to", "hf", "--type", "f32", "--output", out, *parts)
    ids = json.loads(limn("debug", "tokenize", "--model", source, TEXT))
    say(f"{name} → hf: tokens", tokens(out, TEXT) == ids, f"{len(ids)} tokens")
    model = opened(out)
    got = text_logits(model, ids[:64]) + head_bias(out)
    if reference is None:
        expected = limn_logits(source, ids[:64], work)
    else:
        expected = text_logits(opened(reference), ids[:64])
    error = distance(got[:, : expected.shape[1]], expected)
    say(f"{name} → hf: logits", error < 1e-3, f"{error:.1e}")
    with_picture(name, source, parts, out, model, work)
    return out


def picture(side, work):
    from PIL import Image

    path = work / "picture.png"
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def with_picture(name, source, parts, out, model, work):
    import torch
    from PIL import Image
    from transformers import AutoProcessor

    path = picture(json.loads((out / "config.json").read_text())["vision_config"]["image_size"], work)
    prompt = "USER: <image>\nhello ASSISTANT:"
    inputs = AutoProcessor.from_pretrained(out)(images=Image.open(path), text=prompt, return_tensors="pt")
    with torch.no_grad():
        got = model(**inputs).logits[0].numpy() + head_bias(out)
    limn("debug", "logits", "--model", source, *parts, "--image", path, "--prompt", prompt,
         "--output", work / "limn.npy")
    expected = np.load(work / "limn.npy")
    same = got.shape[0] == expected.shape[0]
    error = distance(got[:, : expected.shape[1]], expected) if same else float("inf")
    say(f"{name} → hf: logits with a picture", error < 2e-3, f"{error:.1e} {got.shape} {expected.shape}")


def quantize(source, work):
    from gguf import GGUFReader, quants

    limn("convert", source, "--to", "gguf", "--output", work / "f16.gguf", "--force")
    original = {t.name: np.array(t.data, np.float32) for t in GGUFReader(work / "f16.gguf").tensors}
    for kind in ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"):
        ours, theirs = work / f"limn-{kind}.gguf", work / f"llama-{kind}.gguf"
        limn("quantize", work / "f16.gguf", "--to", kind, "--output", ours, "--force")
        done = subprocess.run([options.llama + "/llama-quantize", work / "f16.gguf", theirs, kind],
                              capture_output=True, env=environment())
        assert done.returncode == 0, done.stderr[-2000:]
        ours, theirs = ({t.name: t for t in GGUFReader(p).tensors} for p in (ours, theirs))
        wrong = [n for n in theirs if n not in ours or ours[n].tensor_type != theirs[n].tensor_type]
        say(f"{source.name} {kind}: types of {len(theirs)} tensors", not wrong, ", ".join(wrong))
        worst = 0.0
        for name, tensor in ours.items():
            def error(t):
                values = quants.dequantize(t.data, t.tensor_type).reshape(original[name].shape)
                return float(((values - original[name]) ** 2).sum())
            if tensor.tensor_type > 1 and name in theirs:
                worst = max(worst, (error(tensor) / max(error(theirs[name]), 1e-30)) ** 0.5)
        say(f"{source.name} {kind}: root mean square error over llama-quantize's", worst <= 1.00001, f"{worst:.4f}")


def fused(work):
    """A Phi-3 with random weights whose rows fill blocks of 256: its q, k and v are one matrix."""
    import shutil

    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, Phi3Config

    out = work / "fused"
    shutil.copytree(CHECKPOINTS / "phi3", out)
    text = Phi3Config(hidden_size=256, intermediate_size=512, num_hidden_layers=9, num_attention_heads=4,
                      num_key_value_heads=4, vocab_size=344, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                              image_size=28, patch_size=14)
    image = json.loads((out / "config.json").read_text())["image_token_index"]
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image)
    LlavaForConditionalGeneration(config).save_pretrained(out)
    return out


def environment():
    return {**os.environ, "LD_LIBRARY_PATH": options.llama or ""}


def layers(work, order):
    """A LLaVA that uses the features of several layers."""
    import shutil

    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    source, out = CHECKPOINTS / "llama-mha", work / f"layers{''.join(map(str, order))}"
    shutil.copytree(source, out)
    config = LlavaConfig.from_pretrained(source)
    config.vision_feature_layer = list(order)
    torch.manual_seed(5)
    LlavaForConditionalGeneration(config).save_pretrained(out)
    return out


def towers(work):
    import projectors

    def pair(source):
        limn("convert", source, "--to", "gguf", "--type", "f32", "--output", work / "m.gguf", "--force")
        return work / "m-mmproj-f32.gguf"

    def answer(mmproj, path, dump):
        return subprocess.run(
            [options.llama + "/llama-mtmd-cli", "-m", work / "m.gguf", "--mmproj", mmproj, "--image", path,
             "-p", "hello", "-n", "2", "--temp", "0", "-t", "1", "-c", "512", "-fa", "off", "--chat-template", "vicuna"],
            capture_output=True, text=True, errors="replace", timeout=120,
            env={**environment(), "MTMD_DEBUG_EMBEDDINGS": str(dump)})

    for source in [*(CHECKPOINTS / n for n in ("llama-mha", "siglip", "mipha", "projector-norms", "bnb-nf4")), DEMO,
                   layers(work, [1, 2])]:
        mmproj = pair(source)
        path, dump = picture(projectors.side(mmproj), work), work / "features.bin"
        dump.unlink(missing_ok=True)
        done = answer(mmproj, path, dump)
        if not dump.exists():
            say(f"{source.name}: llama-mtmd-cli opens the pair", False, done.stderr[-300:])
            continue
        rows, width = np.fromfile(dump, np.int32, 2)
        got = np.fromfile(dump, np.float32, offset=8).reshape(rows, width)
        limn("debug", "preprocess", "--model", source, "--image", path, "--output", work / "pixels.npy")
        pixels = np.load(work / "pixels.npy")[0]
        error = distance(got, projectors.features(mmproj, pixels, as_llama=True))
        say(f"{source.name}: llama.cpp's features are the file's", error < 1e-2, f"{error:.1e} {got.shape}")
        limn("debug", "embed", "--model", work / "m.gguf", "--image", path, "--output", work / "embed.npy")
        error = distance(np.load(work / "embed.npy"), projectors.features(mmproj, pixels))
        say(f"{source.name}: limn's features are the file's", error < 1e-3, f"{error:.1e}")
    for source in [*(CHECKPOINTS / n for n in ("siglip-default", "vipllava", "llama-rope-linear")),
                   layers(work, [2, 1])]:
        mmproj = pair(source)
        done = answer(mmproj, picture(projectors.side(mmproj), work), work / "none.bin")
        refusal = "unknown projector type" in done.stdout + done.stderr
        say(f"{source.name}: llama.cpp refuses what it would compute wrongly", refusal and done.returncode != 0)
    limn("convert", CHECKPOINTS / "llama-rope-dynamic", "--to", "gguf", "--output", work / "m.gguf", "--force")
    done = answer(work / "m-mmproj-f16.gguf", picture(28, work), work / "none.bin")
    say("llama-rope-dynamic: llama.cpp refuses RoPE that it does not know", done.returncode != 0)


def mtmd(work):
    limn("convert", DEMO, "--to", "gguf", "--output", work / "demo")
    from PIL import Image
    Image.open(ROOT / "Tests/Fixtures/Demo/1000001.webp").save(work / "scene.png")
    done = subprocess.run(
        [options.llama + "/llama-mtmd-cli", "-m", work / "demo/limn-demo-f16.gguf", "--mmproj",
         work / "demo/limn-demo-mmproj-f16.gguf", "--image", work / "scene.png", "-p", "What animals are there?",
         "-n", "24", "--temp", "0", "-t", "1", "--jinja"],
        capture_output=True, text=True, env=environment(), timeout=120)
    say("llama-mtmd-cli opens the demo's pair and answers", done.returncode == 0 and done.stdout.strip() != "",
        done.stdout.strip()[-80:] or done.stderr[-500:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--limn", default=str(ROOT / ".build/release/limn"))
    parser.add_argument("--llama", help="folder with llama.cpp's libraries and programs")
    parser.add_argument("--only", help="gguf, hf, quantize, towers or mtmd")
    options = parser.parse_args()
    if options.llama:
        os.environ["LLAMA_CPP_LIB_PATH"] = options.llama
    layouts = ["llama-mha", "llama-gqa-odd", "llama-tied-llama3", "mistral-defaults", "phi3"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.llama and options.only in (None, "gguf"):
            for name in [*layouts, "phi2"]:
                to_gguf(CHECKPOINTS / name, work)
            to_gguf(DEMO, work)
        if options.only in (None, "hf"):
            for source in [*(CHECKPOINTS / name for name in [*layouts, *READABLE]), DEMO]:
                to_hf(source, work, reference=source)
                pair = work / f"{source.name}.gguf"
                limn("convert", source, "--to", "gguf", "--type", "f32", "--output", pair)
                to_hf(pair, work)
            for name in OTHERS:
                to_hf(CHECKPOINTS / name, work)
            for name in PROJECTORS:
                to_hf(CHECKPOINTS / "gguf/llama.gguf", work, mmproj=CHECKPOINTS / f"gguf/towers/mmproj-{name}.gguf")
            to_hf(CHECKPOINTS / "gguf/pair/tiny-mixed.gguf", work)
        if options.llama and options.only in (None, "quantize"):
            quantize(DEMO, work)
            quantize(fused(work), work)
            quantize(CHECKPOINTS / "llama-gqa-odd", work)
        if options.llama and options.only in (None, "towers"):
            towers(work)
        if options.llama and options.only in (None, "mtmd"):
            mtmd(work)
    sys.exit(failures)
