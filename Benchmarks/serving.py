"""Starts servers and asks them, for serve_soak.py and serve_load.py. Standard library only."""

import base64
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from measure import Failed


class Lost(Exception):
    """A connection that ended before its answer did."""


class Server:
    """A server's process, on a free port; its output goes to a file."""

    def __init__(self, command, log, ready="/health", patience=300, environment=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = Path(log)
        with open(log, "wb") as output:
            try:
                self.process = subprocess.Popen(
                    [str(part) for part in command] + ["--host", "127.0.0.1", "--port", str(self.port)],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
            except OSError as error:
                raise Failed(f"{command[0]} cannot be run: {error.strerror}")
        try:
            self.wait(ready, patience)
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def is_running(self):
        return self.process.poll() is None

    def wait(self, path, patience):
        """Until the server is ready; llama-server answers 503 as long as it loads."""
        end = time.monotonic() + patience
        while True:
            if not self.is_running:
                raise Failed(f"the server ended with {self.process.returncode}: {self.last_words()}")
            try:
                return self.get(path)
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise Failed(f"the server was not ready after {patience} s: {self.last_words()}")
                time.sleep(0.1)

    def last_words(self):
        return self.log.read_bytes()[-600:].decode(errors="replace").strip()

    def stop(self, grace=60):
        """Asks the server to end. Returns its exit status, or None if it had to be killed."""
        if self.is_running:
            self.process.terminate()
        try:
            return self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    # MARK: Asking

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return response.read().decode()

    def connect(self, patience=900):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)

    def post(self, path, body, patience=900):
        """The JSON of an answer that is not streamed."""
        connection = self.connect(patience)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        if response.status != 200:
            raise Failed(f"{path}: {response.status} {text[:300]}")
        return json.loads(text)

    # MARK: What it takes

    def memory(self):
        """Resident bytes, those of mapped files included."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
            return 0
        out = subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, text=True).stdout
        return int(out or 0) * 1024

    def descriptors(self):
        folder = f"/proc/{self.process.pid}/fd"
        if os.path.isdir(folder):
            return len(os.listdir(folder))
        # Without /proc; the first line is the header.
        out = subprocess.run(["lsof", "-p", str(self.process.pid)], capture_output=True, text=True).stdout
        return max(0, len(out.splitlines()) - 1)


def events(response):
    """The JSON values of a streamed body as they come: server-sent events, or a line each. OpenAI's [DONE] is a string."""
    while True:
        try:
            line = response.readline()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Lost(f"{type(error).__name__} within a stream")
        if not line:
            return
        line = line.strip()
        if line.startswith(b"data:"):
            line = line[5:].strip()
        elif not line.startswith(b"{"):
            continue  # names of events, pings, empty lines
        yield "[DONE]" if line == b"[DONE]" else json.loads(line)


def data_url(path):
    kind = {".png": "png", ".webp": "webp"}.get(Path(path).suffix, "jpeg")
    return f"data:image/{kind};base64," + base64.b64encode(Path(path).read_bytes()).decode()


def percentile(values, share):
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def threads_available():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
