#!/usr/bin/env python3
"""Keeps one `limn-server` busy for minutes and checks that it stays right, loses nothing and does not grow.

    Benchmarks/serve_soak.py                             # the demo model, 10 minutes, 32 clients
    Benchmarks/serve_soak.py --minutes 1 --clients 8     # a short trial
    Benchmarks/serve_soak.py --queue 8                   # with refusals: clients wait for Retry-After and ask again

Run `make build` first. Standard library only; any Python from 3.10.

What the clients do, each by its own seeded dice:
- They ask short and long questions, with pictures and without, over OpenAI's, Ollama's and Anthropic's API, streamed or
  not, on kept or new connections. Everything is greedy, so every question has one right answer: the one from a first,
  quiet pass, which is also compared with `limn ask`. Long answers are forced by a JSON schema, or by `ignore_eos`.
- A third leaves: right after asking, or after some pieces of the answer. They close the socket and say nothing.
- One request in eight is bad (broken JSON, unknown model, a text beyond the context, a number beyond all bounds, a body
  beyond the limit, half a picture), and the server must refuse it with the right status.
- Whoever gets 429 waits for as long as Retry-After says, and asks again.

Counted: answers that were right, wrong (another text), lost (the connection ended without an end and without a refusal) or
refused (another status than 200 and 429, or an error within a stream). Memory is read once a second; the table shows the
median and the largest of each half minute. After the first minute, in which caches fill, every median must stay within 3%
of that of the first minute's second half: single readings depend on what is under way at that moment. Once all clients
have left, the server must have as many open descriptors as before they came, no request under way, and still all answers
right; then it must end with 0 upon SIGTERM.

Exit status: 0 if all of that holds, otherwise 1.
"""

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from measure import Failed, picture
from peers import HERE, log, positive
from serving import Lost, Server, data_url, events

ROOT = HERE.parent
MODEL = "limn-demo"
SHORT, LONG = 64, 400  # tokens at most
APIS = ["openai", "ollama", "anthropic"]
MARGIN = 1.03  # by which memory may grow after the first minute
WORDS = ["tent", "boat", "tree", "person", "sheep", "kite", "bird", "house"]
SCHEMA = {"type": "array", "minItems": 40, "maxItems": 40, "items": {"enum": WORDS}}


class Question:
    """A question; `kind` says what makes its answer long: nothing, a schema, or that it ignores its end."""

    def __init__(self, text, file=None, kind="short"):
        self.text, self.file, self.kind = text, file, kind
        self.url = data_url(file) if file else None
        self.answer = None
        # Ollama's API has no ignore_eos.
        self.apis = [api for api in APIS if api != "ollama" or kind != "endless"]

    def __str__(self):
        return f"{self.kind}, {Path(self.file).name if self.file else 'no picture'}: {self.text!r}"

    def request(self, api, streamed):
        """Its path and body in the words of an API."""
        most = SHORT if self.kind == "short" else LONG
        body = {"model": MODEL, "stream": streamed, "temperature": 0}
        if api == "ollama":
            message = {"role": "user", "content": self.text}
            if self.url:
                message["images"] = [self.url.split(",", 1)[1]]
            if self.kind == "schema":
                body["format"] = SCHEMA
            return "/api/chat", {**body, "messages": [message], "options": {"num_predict": most, "temperature": 0}}
        content = [{"type": "text", "text": self.text}]
        if self.url and api == "openai":
            content.insert(0, {"type": "image_url", "image_url": {"url": self.url}})
        elif self.url:
            head, data = self.url.split(";base64,")
            source = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
            content.insert(0, {"type": "image", "source": source})
        if self.kind == "endless":
            body["ignore_eos"] = True
        elif self.kind == "schema" and api == "openai":
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "things", "schema": SCHEMA}}
        elif self.kind == "schema":
            body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        body.update(max_tokens=most, messages=[{"role": "user", "content": content}])
        return ("/v1/chat/completions" if api == "openai" else "/v1/messages"), body


def questions(scratch, pictures):
    demo = ROOT / "Tests/Fixtures/Demo"
    files = [ROOT / "Examples/camp.png", ROOT / "Examples/lighthouse.png", picture(scratch, 1), picture(scratch, 2)]
    files += sorted(demo.glob("*.webp"))[:pictures - len(files)]
    known = {}
    for entry in json.loads((demo / "questions.json").read_text()):
        known.setdefault(entry["image"], []).append(entry["question"])
    result = []
    for index, file in enumerate(files):
        asked = known.get(file.name, ["What is the weather?", "How many people are there?"])[:2]
        result += [Question(text, file) for text in ["Describe this picture.", *asked]]
        kind = ["schema", "endless"][index % 2]
        result.append(Question("What is in this picture?", file, kind))
    result += [Question(text) for text in ["Hello", "What is the weather?", "Is there a boat? " * 40]]
    result += [Question("Tell me a story.", None, "endless"), Question("Name things.", None, "schema")]
    return result


def bad_requests(question):
    """Each kind: name, status that must come, path, body in bytes, further headers."""
    path, good = question.request("openai", True)
    whole = json.dumps(good).encode()
    _, cut = Question(question.text, question.file).request("openai", False)
    url = cut["messages"][0]["content"][0]["image_url"]
    url["url"] = url["url"][:len(url["url"]) // 2 // 4 * 4]

    def changed(**members):
        return json.dumps({**good, **members}).encode()

    words = [{"role": "user", "content": "boat " * 200_000}]
    return [
        ("broken JSON", 400, path, whole[:-20], {}),
        ("unknown model", 404, path, changed(model="no-such-model"), {}),
        ("text beyond the context", 400, path, changed(messages=words), {}),
        ("number beyond all bounds", 400, path, changed(max_tokens=10 ** 400), {}),
        ("wrong type", 400, "/v1/messages", changed(messages="hello"), {}),
        ("half a picture", 400, path, json.dumps(cut).encode(), {}),
        ("half a picture, streamed", 400, path, json.dumps({**cut, "stream": True}).encode(), {}),
        ("body beyond the limit", 413, "/api/chat", b"{", {"Content-Length": str(1 << 40)}),
    ]


class Refused(Exception):
    """An error within a stream, or a status that should not come."""


class Left(Exception):
    """The client has left, as planned."""


def whole(api, answer):
    """The text of an answer that was not streamed."""
    if api == "openai":
        return answer["choices"][0]["message"]["content"]
    return answer["message"]["content"] if api == "ollama" else answer["content"][0]["text"]


def streamed(api, response, leave_after=None):
    """The text of a streamed answer, which must come with its end."""
    pieces, has_ended = [], False
    for event in events(response):
        if event == "[DONE]":
            has_ended = True
            continue
        if event.get("error") or event.get("type") == "error":
            raise Refused(f"200, then {event}")
        if api == "openai":
            piece = event["choices"][0]["delta"].get("content") if event["choices"] else None
        elif api == "ollama":
            piece, has_ended = event["message"]["content"], event["done"]
        else:
            piece = event.get("delta", {}).get("text")
            has_ended = event["type"] == "message_stop"
        if piece:
            pieces.append(piece)
        if leave_after is not None and len(pieces) >= leave_after:
            raise Left
    if not has_ended:
        raise Lost("a stream without its end")
    return "".join(pieces)


class Client(threading.Thread):
    def __init__(self, server, tally, questions, bad, number, seed, end):
        super().__init__(name=f"client {number}", daemon=True)
        self.server, self.tally, self.questions, self.bad, self.end = server, tally, questions, bad, end
        self.dice = random.Random(f"{seed} {number}")
        self.connection = None

    def run(self):
        while time.monotonic() < self.end:
            try:
                self.refused_one() if self.dice.random() < 1 / 8 else self.one()
            except Exception as error:  # a defect of this script must not pass as a quiet client
                self.tally.note("lost", f"{type(error).__name__}: {error}")
                self.close()
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def send(self, path, body, headers={}):
        self.connection = self.connection or self.server.connect(patience=300)
        try:
            self.connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        except OSError:
            # A kept connection may have been closed by the server meanwhile; a new one may not.
            self.close()
            self.connection = self.server.connect(patience=300)
            self.connection.request("POST", path, body, {"Content-Type": "application/json", **headers})

    def response(self):
        try:
            return self.connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"{type(error).__name__} instead of a status")

    def refused_one(self):
        name, status, path, body, headers = self.dice.choice(self.bad)
        try:
            self.send(path, body, headers)
            response = self.response()
            text = response.read().decode(errors="replace")
        except (Lost, OSError, http.client.HTTPException) as error:
            self.tally.note("lost", f"bad request ({name}): {type(error).__name__} {error}")
            return self.close()
        if response.status == 429:
            self.tally.add("429")
            return self.wait(response)
        self.tally.bad(name, response.status, status, text)
        if response.getheader("Connection") == "close":
            self.close()

    def wait(self, response):
        seconds = response.getheader("Retry-After")
        if not (seconds or "").isdecimal():
            self.tally.note("refused", f"429 with Retry-After {seconds!r}")
        time.sleep(min(float(seconds or 1), max(0, self.end - time.monotonic())))

    def one(self):
        question = self.dice.choice(self.questions)
        api = self.dice.choice(question.apis)
        is_streamed, leaves = self.dice.random() < 0.6, self.dice.random() < 1 / 3
        # Before the first piece, or after some: of an answer that is not streamed there are none.
        pieces = self.dice.choice([0, 1, 2, 5, 20]) if is_streamed else 0
        path, body = question.request(api, is_streamed)
        body = json.dumps(body)
        while True:
            try:
                self.send(path, body)
                if leaves and pieces == 0:
                    time.sleep(self.dice.choice([0, 0.01, 0.1]))
                    raise Left
                response = self.response()
                if response.status == 429:
                    response.read()
                    self.tally.add("429")
                    self.wait(response)
                    if time.monotonic() >= self.end:
                        return
                    continue
                if response.status != 200:
                    raise Refused(f"{response.status} {response.read()[:200]}")
                if is_streamed:
                    text = streamed(api, response, pieces if leaves else None)
                else:
                    text = whole(api, json.loads(response.read()))
                if text == question.answer:
                    self.tally.add("right")
                else:
                    self.tally.note("wrong", f"{api}, streamed: {is_streamed}, {question}: expected "
                                             f"{question.answer!r}, found {text!r}")
                if self.dice.random() < 1 / 4:
                    self.close()
            except Left:
                self.tally.add("left")
                self.close()
            except Refused as refusal:
                self.tally.note("refused", f"{api}, streamed: {is_streamed}, {question}: {refusal}")
                self.close()
            except (Lost, OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.tally.note("lost", f"{api}, streamed: {is_streamed}, {question}: {type(error).__name__} {error}")
                self.close()
            return


class Tally:
    """What the clients count together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts, self.statuses, self.notes = Counter(), Counter(), []

    def add(self, what):
        with self.lock:
            self.counts[what] += 1

    def note(self, what, text):
        with self.lock:
            self.counts[what] += 1
            if sum(kept == what for kept, _ in self.notes) < 10:
                self.notes.append((what, text))

    def bad(self, name, status, expected, text):
        with self.lock:
            self.counts["bad"] += 1
            self.statuses[(name, status, expected)] += 1
        if status != expected:
            self.note("misjudged", f"bad request ({name}): {status} instead of {expected}: {text[:200]}")
        elif '"error"' not in text:
            self.note("misjudged", f"bad request ({name}): {status} without a reason: {text[:200]}")


def answer_once(server, question, api="openai", is_streamed=False):
    path, body = question.request(api, is_streamed)
    connection = server.connect()
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        if response.status != 200:
            raise Failed(f"{question}: {response.status} {response.read()[:300]}")
        return streamed(api, response) if is_streamed else whole(api, json.loads(response.read()))
    finally:
        connection.close()


def command_differs(limn, asked, scratch):
    """Compares some answers with those of the command. Returns the differences."""
    schema = Path(scratch) / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    differences = []
    for question in asked:
        most = SHORT if question.kind == "short" else LONG
        command = [limn, "ask", *([question.file] if question.file else []), question.text, "--max-tokens", most, "--json"]
        command += ["--schema", schema] if question.kind == "schema" else []
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        try:
            text = json.loads(done.stdout)["text"]
        except (ValueError, KeyError):
            text = f"{done.stdout}{done.stderr}"
        if text != question.answer:
            differences.append(f"{question}: the server says {question.answer!r}, `limn ask` {text!r}")
    return differences


def watch(server, clients, start, every, tally):
    """Reads memory and descriptors until all clients are done. Returns rows for the table."""
    rows, readings, before, due = [], [], Counter(), every
    header = f"{'seconds':>8} {'memory, MB':>11} {'largest':>9} {'descriptors':>12} {'right':>8} {'left':>7} {'bad':>7} {'429':>6}"
    print(header, flush=True)
    while True:
        is_over = not any(client.is_alive() for client in clients)
        passed = time.monotonic() - start
        if not server.is_running:
            tally.note("lost", f"the server ended with {server.process.returncode}: {server.last_words()}")
            return rows
        readings.append(server.memory())
        if passed >= due or is_over:
            now = Counter(tally.counts)
            row = {"seconds": round(passed, 1), "memory": statistics.median(readings), "largest": max(readings),
                   "readings": readings, "descriptors": server.descriptors(), **(now - before)}
            rows.append(row)
            print(f"{passed:8.0f} {row['memory'] / 1e6:11.1f} {row['largest'] / 1e6:9.1f} {row['descriptors']:12} " + " ".join(
                f"{row.get(key, 0):{width}}" for key, width in [("right", 8), ("left", 7), ("bad", 7), ("429", 6)]),
                flush=True)
            readings, before, due = [], now, due + every
        if is_over:
            return rows
        time.sleep(1)


def settled(read, expected, patience=15):
    """Reads until the value is the expected one; the last value if it never is."""
    end = time.monotonic() + patience
    while (value := read()) != expected and time.monotonic() < end:
        time.sleep(0.2)
    return value


def metric(server, name):
    for line in server.get("/metrics").splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return None


def memory_verdict(rows, every):
    first = [row for row in rows if 60 - every < row["seconds"] < 60 + every / 2]
    # A last row of a few readings says little.
    later = [row for row in rows if row["seconds"] >= 60 + every / 2 and len(row["readings"]) >= every / 2]
    if not first or not later:
        return None, "memory: not judged, for that the run has to be longer than a minute and a half"
    share, largest = (max(row[key] for row in later) / first[-1][key] for key in ("memory", "largest"))
    # What is under way makes medians vary by some percent; a leak shows in the trend, too.
    trend = ""
    if len(later) > 1:
        line = statistics.linear_regression([row["seconds"] / 60 for row in later], [row["memory"] / 1e6 for row in later])
        trend = f", trend since then {line.slope:+.2f} MB a minute"
    return share <= MARGIN, (f"memory: after the first minute at most {share:.3f} times what it was then "
                             f"(single readings: {largest:.3f}{trend})")


def soak(options, server, asked, scratch):
    verdicts = []
    log(f"{len(asked)} questions, quietly")
    for question in asked:
        question.answer = answer_once(server, question)
    for api in APIS:
        for question in [each for each in asked[::-1][:60] if api in each.apis]:
            for is_streamed in (False, True):
                text = answer_once(server, question, api, is_streamed)
                if text != question.answer:
                    verdicts.append((False, f"quiet, {api}, streamed: {is_streamed}, {question}: expected "
                                            f"{question.answer!r}, found {text!r}"))
    compared = [each for each in asked if each.kind != "endless"][::-options.compare]
    differences = command_differs(options.limn, compared, scratch)
    verdicts.append((not differences, f"{len(compared)} answers as `limn ask` gives them" if not differences
                     else "; ".join(differences)))

    tally, bad = Tally(), bad_requests(asked[0])
    descriptors, start = settled(server.descriptors, None, patience=2), time.monotonic()
    clients = [Client(server, tally, asked, bad, number, options.seed, start + 60 * options.minutes)
               for number in range(options.clients)]
    log(f"{options.clients} clients, {options.minutes:g} minutes; {descriptors} descriptors before")
    for client in clients:
        client.start()
    rows = watch(server, clients, start, options.every, tally)
    counts = tally.counts
    for name, status, expected in sorted(tally.statuses):
        print(f"bad request, {name}: {status} × {tally.statuses[name, status, expected]}")
    print(", ".join(f"{key}: {counts[key]}" for key in
                    ["right", "wrong", "lost", "refused", "misjudged", "left", "bad", "429"]))
    for what, text in tally.notes:
        print(f"{what}: {text}")
    verdicts += [
        (counts["right"] > 0 and not counts["wrong"], f"every finished answer is right: {counts['wrong']} are wrong"),
        (not counts["lost"], f"none is lost: {counts['lost']} are"),
        (not counts["refused"], f"none is refused but by 429: {counts['refused']} are"),
        (not counts["misjudged"], f"bad requests get their status: {counts['misjudged']} do not"),
        memory_verdict(rows, options.every),
    ]
    if server.is_running:
        after = settled(server.descriptors, descriptors)
        verdicts.append((after == descriptors, f"descriptors: {descriptors} before, {after} after"))
        busy = [settled(lambda: metric(server, "llamacpp:" + name), 0.0)
                for name in ("requests_processing", "requests_deferred")]
        verdicts.append((busy == [0, 0], f"requests under way and waiting afterwards: {busy}"))
        wrong = sum(answer_once(server, question) != question.answer for question in asked)
        verdicts.append((not wrong, f"all questions once more, quietly: {wrong} answers are wrong"))
        status = server.stop()
        verdicts.append((status == 0, f"it ends upon SIGTERM with {'a kill' if status is None else status}"))
    return verdicts, {"counts": counts, "rows": rows,
                      "bad": [[*key, count] for key, count in tally.statuses.items()], "notes": tally.notes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=positive, default=32)
    parser.add_argument("--parallel", type=positive, help="limn-server's; its default if not given")
    parser.add_argument("--queue", type=int, help="limn-server's; its default if not given")
    parser.add_argument("--threads", type=positive, help="limn-server's; its default if not given")
    parser.add_argument("--every", type=float, default=30, help="seconds between two rows of the table")
    parser.add_argument("--compare", type=positive, default=15, help="compare every n-th answer with `limn ask`")
    parser.add_argument("--pictures", type=positive, default=100, help="how many different ones, at least 5, at most 204")
    parser.add_argument("--seed", default="0", help="of the clients' dice")
    parser.add_argument("--limn-server", default=ROOT / ".build/release/limn-server", help="the server to load")
    parser.add_argument("--limn", default=ROOT / ".build/release/limn", help="the command to compare answers with")
    parser.add_argument("--json", type=Path, help="the figures as JSON")
    parser.add_argument("--log", type=Path, help="where to keep the server's output")
    options = parser.parse_args()
    command = [options.limn_server]
    for name in ("parallel", "queue", "threads"):
        if getattr(options, name) is not None:
            command += [f"--{name}", getattr(options, name)]
    with tempfile.TemporaryDirectory() as scratch:
        asked = questions(scratch, options.pictures)
        try:
            with Server(command, options.log or Path(scratch) / "server.log") as server:
                verdicts, report = soak(options, server, asked, scratch)
        except (Failed, Lost, Refused, OSError) as failure:
            log(f"the soak could not be run: {failure}")
            return 1
    for holds, text in verdicts:
        print({True: "ok    ", False: "FAILED", None: "–     "}[holds], text)
    has_passed = all(holds is not False for holds, _ in verdicts)
    print("passed" if has_passed else "FAILED")
    if options.json:
        report.update(passed=has_passed, verdicts=verdicts, minutes=options.minutes, clients=options.clients)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if has_passed else 1


if __name__ == "__main__":
    sys.exit(main())
