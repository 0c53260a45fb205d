# What this project can do: `make help`. Every target installs what it needs (scripts/setup).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

CARGO ?= cargo
# Where cargo puts what it builds; an absolute or relative CARGO_TARGET_DIR of the caller is respected.
TARGET := $(or $(CARGO_TARGET_DIR),target)
STAGE := images/debian/stage
ARM64 := aarch64-unknown-linux-gnu
# How long every fuzz target runs, and how often the long test tells the short stories again.
FUZZ_SECONDS ?= 20
STORY_RUNS ?= 3
# Which stories are told: files of tests/tests.
STORIES ?= container webserver life metal
# The long ones are for test-long, and with them the one that needs programs for arm64.
STORY_FLAGS ?= --skip long_

.PHONY: help setup demo test test-long story bench lint check fuzz release base-context base-context-arm64 clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the tests need (Debian 12 or 13)
	scripts/setup test

demo: ## from Debian packages to a page fetched from a booted machine
	scripts/setup demo
	$(MAKE) base-context
	scripts/as-user $(TARGET)/release/osmith -- scripts/demo

test: setup ## everything CI runs
	$(MAKE) lint
	$(CARGO) test --locked --workspace
	$(CARGO) test --locked -p composefs-oracle --features upstream
	$(MAKE) fuzz
	$(MAKE) story

test-long: setup ## the long tests, all stories, and the short ones STORY_RUNS times more
	$(CARGO) test --locked --workspace --exclude osmith-stories --release -- --include-ignored
	$(MAKE) story STORY_FLAGS= STORIES="$(STORIES) arm64"
	for run in $$(seq $(STORY_RUNS)); do echo "== stories, run $$run of $(STORY_RUNS)"; $(MAKE) story; done

story: base-context $(if $(filter arm64,$(STORIES)),base-context-arm64) ## boot the stories' machines, as an ordinary user, and look at them from inside and outside
	set -e; for story in $(STORIES); do \
		program=$$($(CARGO) test --locked -p osmith-stories --test $$story --no-run --message-format=json | \
			sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'); \
		install -D "$$program" $(TARGET)/stories/$$story; \
		scripts/as-user $(TARGET)/release/osmith $(TARGET)/stories/$$story -- \
			$$story --ignored --nocapture --test-threads=1 $(STORY_FLAGS); \
	done

bench: ## the table of docs/benchmarks.md, measured on this machine
	scripts/setup bench
	$(MAKE) release
	scripts/bench

lint: check ## formatting, clippy without warnings, crates' arrows, licences, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --quiet --workspace --no-deps --document-private-items
	$(CARGO) deny --locked --log-level error check bans licenses sources

check: ## what needs no compiler: the tree, the crates' arrows, the units, the shell scripts
	scripts/check-tree
	scripts/check-arrows
	scripts/check-units
	shellcheck scripts/* .ci/run systemd/health.d/*

fuzz: ## every fuzz target for FUZZ_SECONDS
	scripts/setup fuzz
	scripts/fuzz $(FUZZ_SECONDS)

release: ## osmith and osmith-initrd, optimised
	$(CARGO) build --locked --release -p osmith-cli

base-context: release ## what images/debian copies from the build: the programs and the dracut module
	scripts/stage $(TARGET)/release $(STAGE)

base-context-arm64: ## the same for arm64, on another computer: osmith build --build-arg ARCH=arm64 takes it
	scripts/setup arm64
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		$(CARGO) build --locked --release -p osmith-cli --target $(ARM64)
	scripts/stage $(TARGET)/$(ARM64)/release $(STAGE)-arm64

clean: ## remove what was built
	$(CARGO) clean
	rm -rf output $(STAGE) $(STAGE)-arm64
