# `make demo` and `make test` are all that a newcomer needs; both install the libraries that are missing.
.PHONY: setup build demo test format clean

setup:
	@Tools/setup.sh

# The command, at .build/release/limn.
build: setup
	swift build -c release --product limn

# Answers questions about two drawn pictures.
demo: build
	@Tools/demo.sh

# Every test, in release mode: the kernels are C, and unoptimised C would take minutes.
test: setup
	swift build -c release --build-tests
	swift test -c release --skip-build

format:
	swift format --in-place --recursive Sources Tests Package.swift

clean:
	swift package clean
