# Two commands matter: `make test` runs every test, `make demo` does the main job on real input.
# Both begin with `make setup`, which installs or names what is missing.

CARGO ?= cargo
# Property tests draw the same cases in every run, so that a change is judged by the change. Any other
# number explores further: make test PROPTEST_RNG_SEED=7
PROPTEST_RNG_SEED ?= 20261120
export PROPTEST_RNG_SEED
MIXC  := target/release/mixc

.PHONY: help setup build test check lint demo bench clean

help:
	@echo "make setup   check for Rust, install LLVM and MLIR 22, fetch ptxas"
	@echo "make test    set-up, style checks and every test"
	@echo "make demo    release build, then mixers on real input, as a table"
	@echo "make bench   benchmarks, appended to benches/results/"

setup:
	@scripts/setup.sh

build: setup
	$(CARGO) build --release --locked --workspace --bin mixc --bin mixc-mlir

lint: setup
	@scripts/lint.sh

# The binaries first: tests look for the worker that lowers MLIR beside their own folder.
test: lint
	$(CARGO) build --workspace --locked --bins
	$(CARGO) test --workspace --locked

demo: build
	@scripts/demo.sh $(MIXC)

bench: build
	@benches/run.sh $(MIXC)

clean:
	$(CARGO) clean
