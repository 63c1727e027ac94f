# `make demo` and `make test` are all that a newcomer needs; both install the libraries that are missing.
.PHONY: build setup command demo test dist docs lint sanitize coverage test-x86 test-arm format clean

# The commit that `limn --version` names; nothing where this is no clone.
export LIMN_COMMIT := $(if $(wildcard .git),$(shell git describe --always --dirty --abbrev=7 --exclude='*'))

# The command and its server, at .build/release/limn and limn-server.
build: command
	swift build -c release --product limn-server

setup:
	@Tools/setup.sh

# The command alone, without what only the server is built from.
command: setup
	swift build -c release --product limn

# Answers questions about two drawn pictures.
demo: command
	@Tools/demo.sh

# Every test, in release mode: the kernels are C, and unoptimised C would take minutes.
test: setup
	swift build -c release --build-tests
	swift test -c release --skip-build

# What people download: limn-VERSION-linux-ARCH.tar.gz. Tools/dist-check.sh tries it where nothing is installed.
dist: setup
	@Tools/dist.sh

# The library's documentation, for a browser.
docs: setup
	@Tools/docs.sh

# Whether the sources are as `make format` writes them, and every public declaration has its comment.
lint:
	swift format lint --strict --recursive --parallel Sources Tests Examples Package.swift

# Kernels, parsers and threads, under the sanitizers that watch for mistakes there.
sanitize: setup
	@Tools/sanitize.sh

# Which lines the tests run.
coverage: setup
	@Tools/coverage.sh

# The kernels alone, as processors with AVX-512, AVX-VNNI or AMX run them, on one that has AVX2 only.
test-x86:
	@Tools/test-x86.sh

# The kernels alone, as an ARM processor runs them, under an emulator.
test-arm:
	@Tools/test-arm.sh

# C is formatted where clang-format is installed (Debian: clang-format).
format:
	swift format --in-place --recursive Sources Tests Examples Package.swift
	@if command -v clang-format >/dev/null; then find Sources Tests -name '*.[ch]' -exec clang-format -i {} +; \
	else echo "limn: no clang-format, the C code is left as it is" >&2; fi

clean:
	swift package clean
