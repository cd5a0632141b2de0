# Two commands do everything on a fresh Debian machine with Rust: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup build demo up test guest test-gpu check fix bench results clean

KAON := target/release/kaon
SEEDS ?= 200
LOGS ?= ../shared/data/traces/swf-parallel-workloads

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## say and install the system packages that the build needs
	@tools/setup

build: setup ## build the release binary
	@echo "build: the kaon binary (some minutes the first time, on two cores)"
	cargo build --release -p kaon-cli

demo: build ## set up, build, run the main job, show the result
	@KAON=$(KAON) tools/demo

up: build ## a cluster on this machine, until Ctrl-C
	$(KAON) up

test: check ## everything CI runs
	cargo test --workspace
	@$(MAKE) --no-print-directory guest
	cargo build --release -p kaon-cli
	@echo "test: $(SEEDS) seeds with faults"
	$(KAON) sim run --agents 12 --frameworks 3 --tasks 120 --faults --seed 1 --seeds $(SEEDS)

guest: ## the tests of the real kernel in a QEMU guest: control groups of version 2, two NUMA nodes
	@tools/setup guest
	tools/guest "$$(cargo test --workspace --test machine --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$$/\1/p')"

test-gpu: setup ## the tests with the GPUs of this machine; says so when it has none
	cargo test --workspace --test machine -- gpus

check: setup ## format, lints, docs, dependency and tidiness rules; never writes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items -q
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "check: cargo-deny is not installed; licences and advisories were not checked"; fi

fix: ## format, and apply what clippy can mend
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench: setup ## the numbers of docs/performance.md
	cargo bench -p kaon-benches

results: setup ## the figures of docs/results.md; LOGS names the folder of the archive's logs
	cargo run --release -p kaon-sim --example results -- $(LOGS) > target/results.md
	mv target/results.md docs/results.md

clean: ## remove what was built
	cargo clean
