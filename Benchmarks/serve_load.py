#!/usr/bin/env python3
"""Measures limn-server and llama-server in turn, as clients see them, on the same two files.

    Benchmarks/serve_load.py --model language.gguf --mmproj projector.gguf --json Benchmarks/results/serving.json
    Benchmarks/serve_load.py --only a --clients 4 --requests 4 --rounds 1     # one cell
    Benchmarks/serve_load.py --quick                                          # limn alone on its demo model, seconds

Run `make build` first, and nothing else on the machine meanwhile. Standard library only; any Python from 3.10. Without
--model, the files are llava-phi-3-mini with made-up weights from the folder that Benchmarks/run sets up, and so is
llama-server, unless --llama-server names another.

Cells, each with so many clients that ask again as soon as they have their answer:
  a     a new picture in every request, never seen before
  b     eight questions about one picture (the first question's reading of it counts, too)
  c     texts of about 500 tokens with a common beginning, nine tenths of them, and different ends
  gap   the distance between two words of a running answer while the other clients have new pictures read, beside its
        distance when it runs alone (p99 of each, and their ratio); needs at least two clients
For a, b and c: requests a second, and the time to the first word (p50, p95).

Both servers speak OpenAI's API, stream, answer greedily with exactly --tokens tokens (`ignore_eos`), and get
`--parallel` or `-np` = clients and the same threads; llama-server's prompt cache is as by default, and its context is
large enough for all (-c). It gets the built-in vicuna template: with Jinja's, it loses the picture. Both are started anew for
each number of clients and round, in turn, and warmed up with a short text and a picture of its own, so nothing that is
measured is known from before. A request counts only if it ended with the expected number of tokens; a cell with one that did
not has no figures, only its reason. The table has the medians of the rounds.

On two cores, the pair of llava-phi-3-mini's size takes limn 8 s a picture and llama-server 20 to 40: all cells in three rounds
take hours, `--only` and `--clients` choose. What has been measured is in the JSON after every cell.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from measure import Failed, picture
from peers import HERE, Folder, log, positive
from serving import Lost, Server, data_url, events, percentile, threads_available
from table import number

CELLS = ["a", "b", "c", "gap"]
QUESTIONS = ["Describe this picture.", "What is the weather?", "How many people are there?", "Is there a boat?",
             "Which colours are there?", "What time of day is it?", "What is in the middle?", "What is the mood?"]
SENTENCE = "The keeper of the lighthouse wrote down what the sea had brought that day, and what it had taken. "
TEXT_TOKENS = 500
BEFORE = 8  # words of the running answer before the others ask

# Per cell: key, title, whether more is better.
FIGURES = {
    "a": [("rate", "requests/s", True), ("first_p50", "first word p50, s", False), ("first_p95", "first word p95, s", False)],
    "gap": [("alone_p99", "alone, p99, s", False), ("others_p99", "while others are read, p99, s", False),
            ("ratio", "times as far apart", False)],
}
FIGURES["b"] = FIGURES["c"] = FIGURES["a"]
TITLES = {"a": "a new picture each", "b": "questions about one picture", "c": f"texts of {TEXT_TOKENS} tokens, common beginning",
          "gap": "distance between two words"}


class Answer:
    """A streamed answer: when its pieces came, in seconds since it was asked for."""

    def __init__(self, server, model, content, tokens, on_piece=None):
        body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "stream": True,
                "temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}
        self.asked, self.pieces, self.usage, has_ended = time.perf_counter(), [], {}, False
        connection = server.connect()
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise Failed(f"{response.status} {response.read()[:300].decode(errors='replace')}")
            for event in events(response):
                if event == "[DONE]":
                    has_ended = True
                    continue
                if "error" in event:
                    raise Failed(f"an error within the stream: {event['error']}")
                self.usage = event.get("usage") or self.usage
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    self.pieces.append(time.perf_counter() - self.asked)
                    if on_piece:
                        on_piece(len(self.pieces))
        finally:
            connection.close()
        self.ended = time.perf_counter() - self.asked
        found = self.usage.get("completion_tokens")
        if not has_ended or found != tokens:
            raise Failed(f"expected {tokens} tokens and an end, found {found} tokens and {'an' if has_ended else 'no'} end")
        if not self.pieces:
            raise Failed("the answer has no text")

    @property
    def first(self):
        return self.pieces[0]

    def row(self):
        details = self.usage.get("prompt_tokens_details") or {}
        return {"first": self.first, "ended": self.ended, "prompt_tokens": self.usage.get("prompt_tokens"),
                "cached_tokens": details.get("cached_tokens")}


def about(file, question):
    return [{"type": "image_url", "image_url": {"url": data_url(file)}}, {"type": "text", "text": question}]


def at_once(jobs, clients):
    """Runs the jobs, as many at a time as there are clients, in order. Returns results; the first failure is raised."""
    results, failures, lock, rest = [None] * len(jobs), [], threading.Lock(), iter(range(len(jobs)))

    def client():
        while True:
            with lock:
                index = next(rest, None)
            if index is None or failures:
                return
            try:
                results[index] = jobs[index]()
            except Exception as failure:
                failures.append(failure)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


class Contender:
    """A running server, and the model in it."""

    def __init__(self, server):
        self.server = server
        self.model = json.loads(server.get("/v1/models"))["data"][0]["id"]
        if not json.loads(server.get("/props")).get("modalities", {}).get("vision"):
            raise Failed(f"the model takes no pictures: is the projector beside it? {server.last_words()}")

    def ask(self, content, tokens, on_piece=None):
        return Answer(self.server, self.model, content, tokens, on_piece)

    def text(self, index):
        """About 500 tokens; the last tenth is different for each index."""
        def length(text):
            return len(self.server.post("/tokenize", {"content": text})["tokens"])
        each = (length(SENTENCE * 8) - length(SENTENCE * 4)) / 4
        beginning = SENTENCE * round(0.9 * TEXT_TOKENS / each)
        end = "".join(f"On day {1000 * index + day} there were {7 * index + day} birds. " for day in range(100))
        words, count = end.split(" "), TEXT_TOKENS - length(beginning)
        fits = next((n for n in range(8, len(words), 4) if length(" ".join(words[:n])) >= count), len(words))
        return beginning + " ".join(words[:fits])


def cell_of(contender, cell, clients, options, pictures):
    """The figures of one cell."""
    if cell == "gap":
        return gap(contender, clients, options, pictures)
    count = options.requests or {"a": max(2, clients), "b": len(QUESTIONS), "c": 2 * max(2, clients)}[cell]
    if cell == "a":
        contents = [about(next(pictures), QUESTIONS[0]) for _ in range(count)]
    elif cell == "b":
        file = next(pictures)
        contents = [about(file, QUESTIONS[index % len(QUESTIONS)]) for index in range(count)]
    else:
        contents = [contender.text(index) for index in range(count)]
    jobs = [lambda content=content: contender.ask(content, options.tokens) for content in contents]
    start = time.perf_counter()
    answers = at_once(jobs, clients)
    seconds = time.perf_counter() - start
    first = [answer.first for answer in answers]
    return {"rate": count / seconds, "first_p50": percentile(first, 0.5), "first_p95": percentile(first, 0.95),
            "seconds": seconds, "requests": [answer.row() for answer in answers]}


def gap(contender, clients, options, pictures):
    """Words of a running answer: alone, then while the other clients' pictures are read."""
    prompt = "Tell me a long story about a lighthouse."
    alone = contender.ask(prompt, options.running)
    contents = [about(next(pictures), QUESTIONS[0]) for _ in range(clients - 1)]
    has_begun, result = threading.Event(), []

    def run():
        try:
            on_piece = lambda count: has_begun.set() if count == BEFORE else None
            result.append(contender.ask(prompt.replace("long", "very long"), options.running, on_piece))
        except Exception as failure:
            result.append(failure)
        has_begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    has_begun.wait()
    others = at_once([lambda content=content: contender.ask(content, options.tokens) for content in contents], clients - 1)
    thread.join()
    running = result[0]
    if isinstance(running, Exception):
        raise running
    # From the first other request until all of them have been read, or the answer is over.
    start = min(other.asked for other in others) - running.asked
    end = max(other.asked + other.first for other in others) - running.asked
    distances = [later - earlier for earlier, later in zip(running.pieces, running.pieces[1:])
                 if later > start and earlier < end]
    quiet = [later - earlier for earlier, later in zip(alone.pieces, alone.pieces[1:])]
    if not distances or not quiet:
        raise Failed("the answer was over before others were read: raise --running")
    figures = {"alone_p99": percentile(quiet, 0.99), "others_p99": percentile(distances, 0.99)}
    return {**figures, "ratio": figures["others_p99"] / figures["alone_p99"], "words": len(distances),
            "outlasted": running.pieces[-1] >= end, "alone": quiet, "while_others": distances,
            "requests": [other.row() for other in others]}


def commands(options):
    """What to start, per contender, for a number of clients."""
    def limn(clients):
        # No model: the demo model. The projector is found beside the model, wherever the two files really are.
        return [options.limn_server, *(["--model", options.model] if options.model else []),
                "--parallel", clients, "--threads", options.threads, "--log", "none", *options.limn_options.split()]

    def llama(clients):
        # A picture has 576 tokens, a text 500.
        each = 1024 + -(-max(options.running, options.tokens) // 256) * 256
        return [options.llama_server, "-m", options.model, "--mmproj", options.mmproj, "-t", options.threads, "-np", clients,
                "-c", each * clients, "--chat-template", "vicuna", "--no-jinja", *options.llama_options.split()]

    return {name: command for name, command in {"limn": limn, "llama": llama}.items() if name in options.contenders}


def environment(binary):
    """llama.cpp's libraries lie beside its programs."""
    folder = str(Path(binary).resolve().parent)
    return {**os.environ, "LD_LIBRARY_PATH": folder, "DYLD_LIBRARY_PATH": folder}


def measure(options, scratch, report):
    drawn = (picture(scratch, index) for index in range(1, 1 << 30))
    for turn in range(options.rounds):
        for clients in options.clients:
            for name, command in commands(options).items():
                cells = [cell for cell in options.only if cell != "gap" or clients > 1]
                log(f"{name}, {clients} clients, round {turn + 1} of {options.rounds}")
                try:
                    line = command(clients)
                    with Server(line, Path(scratch) / f"{name}.log", environment=environment(line[0])) as server:
                        contender = Contender(server)
                        contender.ask("Hello", 4)
                        if cells != ["c"]:
                            contender.ask(about(next(drawn), "Hello"), 4)
                        for cell in cells:
                            one(contender, cell, clients, options, drawn, report, name)
                except (Failed, Lost, OSError) as failure:
                    fail(report, name, clients, "start", failure)
                save(options, report)


def one(contender, cell, clients, options, drawn, report, name):
    try:
        figures = cell_of(contender, cell, clients, options, drawn)
    except Exception as failure:
        return fail(report, name, clients, cell, failure)
    report["runs"].setdefault(f"{cell} {clients}", {}).setdefault(name, []).append(figures)
    log(f"  {cell}: " + ", ".join(f"{title} {number(figures[key])}" for key, title, _ in FIGURES[cell]))
    save(options, report)


def fail(report, name, clients, cell, failure):
    text = f"{name}, {clients} clients, {cell}: {type(failure).__name__} {failure}"
    log("  " + text)
    report["failures"].append(text)


def save(options, report):
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def markdown(report):
    names = report["contenders"]
    both = names == ["limn", "llama"]
    titles = {"limn": "limn-server", "llama": "llama-server"}
    lines = ["| | clients | | " + " | ".join(titles[name] for name in names) + (" | ratio |" if both else " |"),
             "|---|---:|---|" + "---:|" * (len(names) + both)]
    for cell in CELLS:
        for clients in report["clients"]:
            runs = report["runs"].get(f"{cell} {clients}")
            for key, title, more in FIGURES[cell] if runs else []:
                medians = [statistics.median(run[key] for run in runs[name]) if runs.get(name) else None for name in names]
                cells = [number(value) if value is not None else "–" for value in medians]
                if both:
                    mine, other = medians
                    cells.append(number(mine / other if more else other / mine) if mine and other else "–")
                lines.append(f"| {TITLES[cell]} | {clients} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines + [line for failure in report["failures"] for line in ("", f"Not measured: {failure}")])


def some_of(all_of, kind=str):
    def parse(text):
        values = [kind(part) for part in text.split(",")]
        if all_of and not set(values) <= set(all_of):
            raise argparse.ArgumentTypeError(f"expected some of {','.join(all_of)}, found {text}")
        return values
    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a .gguf file; default: llava-phi-3-mini with made-up weights, in --cache")
    parser.add_argument("--mmproj", help="the projector file, for llama-server; limn finds it beside the model")
    parser.add_argument("--only", type=some_of(CELLS), default=CELLS, help="some of " + ",".join(CELLS))
    parser.add_argument("--clients", type=some_of(None, positive), default=[1, 4, 8], help="numbers of clients: 1,4,8")
    parser.add_argument("--contenders", type=some_of(["limn", "llama"]), default=["limn", "llama"], help="limn,llama")
    parser.add_argument("--requests", type=positive, help="of each of the cells a, b and c; default: a: as many as clients, "
                        "at least 2; b: 8; c: twice as many as clients, at least 4")
    parser.add_argument("--rounds", type=positive, default=3, help="how often to run everything; the medians count")
    parser.add_argument("--tokens", type=positive, default=16, help="of every answer")
    parser.add_argument("--running", type=positive, help="tokens of the answer of the cell gap; default: 96 (--quick: 1500), "
                        "best enough to outlast the reading of the others")
    parser.add_argument("--threads", type=positive, default=threads_available())
    parser.add_argument("--cache", default="~/.cache/limn-benchmarks", help="the folder of the peers, set up by Benchmarks/run")
    parser.add_argument("--limn-server", default=HERE.parent / ".build/release/limn-server")
    parser.add_argument("--llama-server", help="default: the one in --cache")
    parser.add_argument("--limn-options", default="", help="further options, in one argument: --limn-options='--ttl 0'")
    parser.add_argument("--llama-options", default="", help="the same for llama-server")
    parser.add_argument("--quick", action="store_true", help="a trial: limn alone on its demo model, 1 and 4 clients, one round")
    parser.add_argument("--json", type=Path, help="all figures, of every request")
    options = parser.parse_args()
    options.only = [cell for cell in CELLS if cell in options.only]
    options.running = options.running or (1500 if options.quick else 96)
    if options.quick:
        options.contenders, options.rounds, options.model = ["limn"], 1, None
        options.clients = options.clients if options.clients != [1, 4, 8] else [1, 4]
        return options
    if options.model and "llama" in options.contenders and not options.mmproj:
        parser.error("--mmproj: llama-server needs the projector's file")
    folder = Folder(options.cache, options.threads)
    if not options.model:
        options.model, options.mmproj = folder.model("llava-phi-3-mini")
    if "llama" in options.contenders and not options.llama_server:
        options.llama_server = folder.llama_server()
    options.contenders = [name for name in ("limn", "llama") if name in options.contenders]
    return options


def main():
    options = arguments()
    report = {"contenders": options.contenders, "clients": options.clients, "rounds": options.rounds,
              "model": Path(options.model).stem if options.model else "limn-demo", "tokens": options.tokens,
              "running": options.running, "threads": options.threads, "runs": {}, "failures": []}
    with tempfile.TemporaryDirectory() as scratch:
        measure(options, scratch, report)
    save(options, report)
    print(markdown(report))
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
