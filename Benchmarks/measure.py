"""Runs limn and its peers once each and returns figures: seconds, tokens per second, bytes."""

import json
import os
import re
import struct
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

QUESTION = "Describe this picture."
PROMPT, ANSWER = 600, 64  # tokens of the measured text prompt and of its answer


class Failed(Exception):
    """A program failed; the text is the end of its output."""


class Finished:
    """A program's output, its duration from start to end, and its peak memory."""

    def __init__(self, command, environment=None):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            start = time.perf_counter()
            try:
                process = subprocess.Popen(
                    [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                    env=environment)
            except OSError as error:
                raise Failed(f"{command[0]} cannot be run: {error.strerror}")
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), errors.seek(0)
            self.out, self.errors = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
        # Kilobytes on Linux, bytes on macOS. Pages of mapped files count.
        self.peak = usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
        if process.returncode != 0:
            name = " ".join(map(str, command[:2]))
            raise Failed(f"{name} ended with {process.returncode}: {(self.errors or self.out)[-300:].strip()}")


def picture(folder, index=0):
    """A PNG file with coloured waves, 512 pixels a side, different for each index."""
    side, path = 512, Path(folder) / f"waves-{index}.png"
    rows = bytearray()
    for y in range(side):
        rows.append(0)
        for x in range(side):
            rows += bytes(((x * (3 + index) + y) & 255, (x ^ y) & 255, (y * 5 + x * index) & 255))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                     + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b""))
    return path


class Limn:
    def __init__(self, binary, language, projector, threads):
        self.binary, self.threads = str(binary), threads
        self.model = ["--model", language] + (["--mmproj", projector] if projector else [])

    def bench(self, prompt, generate, *options):
        """The JSON of `limn bench`."""
        return json.loads(Finished(
            [self.binary, "bench", *self.model, "--prompt-tokens", prompt, "--gen-tokens", generate, "--repetitions", 1,
             "--threads", self.threads, "--json", *options]).out)

    def ask(self, *images):
        """The process that answers with one token."""
        return Finished([self.binary, "ask", *images, QUESTION, *self.model, "--max-tokens", 1,
                         "--threads", self.threads])

    def rows(self, image):
        b = self.bench(PROMPT, ANSWER, "--image", image, "--quoting")
        short = self.bench(64, ANSWER, "--depth", 1)
        eight = self.bench(64, ANSWER, "--parallel", 8)
        process = self.ask(image)
        figures = {
            "open": b["load_ms"] / 1e3, "encode": b["image_encode_ms"] / 1e3, "prefill": b["prompt_per_second"],
            "decode": b["predicted_per_second"], "first_word": process.seconds,
            "second_question": b["second_question_ms"] / 1e3, "peak": process.peak,
            "quoting": b["quoting_predicted_per_second"], "decode_short": short["predicted_per_second"],
            "eight": eight["parallel_predicted_per_second"], "read_share": short["read_share"],
        }
        # The maximum of three runs: a ceiling is what the machine can do.
        machine = {key: max(run["machine"][key] for run in (b, short, eight)) for key in b["machine"]}
        return figures, {"threads": b["threads"], "isa": b["isa"], **machine}


class Llama:
    """llama.cpp."""

    def __init__(self, folder, language, projector, threads):
        self.binaries, self.environment = folder.binaries, folder.environment()
        self.language, self.projector, self.threads = language, projector, threads

    def bench(self, prompt=0, generate=0, flash="auto", depth=0):
        """Tokens per second of llama-bench, which warms up by itself."""
        out = Finished(
            [self.binaries / "llama-bench", "-m", self.language, "-t", self.threads, "-p", prompt, "-n", generate,
             "-fa", flash, "-d", depth, "-r", 1, "-o", "json"], self.environment).out
        return json.loads(out[out.index("["):])[0]["avg_ts"]

    def ask(self, *images):
        """The process that answers with one token."""
        return Finished(
            [self.binaries / "llama-mtmd-cli", "-m", self.language, "--mmproj", self.projector,
             *[part for image in images for part in ("--image", image)], "-p", QUESTION, "-t", self.threads,
             "-n", 1, "--temp", "0", "--chat-template", "vicuna", "--no-warmup", "-lv", "4", "--log-timestamps", "--log-prefix"],
            self.environment)

    def rows(self, image):
        process = self.ask(image)

        # A line begins with its time: minutes.seconds.milliseconds.microseconds. This one is logged when all is loaded.
        opened = re.search(r"(\d+)\.(\d+)\.(\d+)\.\d+ I main: loading model", process.errors)
        encoded = re.search(r"encod(?:ed|ing done) in (\d+) ms", process.errors)
        if not (opened and encoded):
            raise Failed("llama-mtmd-cli does not log the expected lines")
        minutes, seconds, milliseconds = map(int, opened.groups())
        return {
            "open": 60 * minutes + seconds + milliseconds / 1e3, "encode": int(encoded.group(1)) / 1e3,
            "prefill": self.bench(PROMPT, flash="off"),
            "prefill_flash": self.bench(PROMPT, flash="on"),
            "decode": self.bench(generate=ANSWER, depth=PROMPT), "decode_short": self.bench(generate=ANSWER),
            "first_word": process.seconds, "peak": process.peak,
        }


class Script:
    """A peer that is a Python library: a script that runs it prints a line of JSON."""

    def __init__(self, python, script, *arguments):
        self.command = [python, Path(__file__).with_name(script), *arguments]

    def rows(self, image):
        done = Finished(self.command)
        return {**json.loads(done.out.strip().splitlines()[-1]), "peak": done.peak}
