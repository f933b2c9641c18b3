# Every command a person runs. `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Watch a real Envoy let friends in and turn an intruder away
	@echo "demo: building, the first time takes a few minutes" >&2
	@cargo run --quiet --locked --package demo

.PHONY: up
up: ## The same, and leave Envoy running to try it by hand
	@cargo run --quiet --locked --package demo -- up

.PHONY: down
down: ## End what `make up` left running
	@cargo run --quiet --locked --package demo -- down

.PHONY: stack
stack: ## The demo stack in Docker Compose: bring it up and hold it to every claim
	@cargo run --quiet --locked --package stack -- tour

.PHONY: stack-up
stack-up: ## Bring it up, and no more
	@cargo run --quiet --locked --package stack -- up

.PHONY: stack-down
stack-down: ## Remove its containers, networks and volumes
	@cargo run --quiet --locked --package stack -- down

.PHONY: stack-images
stack-images: ## Make stand-ins of its base images, where none can be pulled
	@tools/stack-images --stand-ins

.PHONY: stack-images-remove
stack-images-remove: ## Remove the images that were made here
	@tools/stack-images --remove

.PHONY: stack-report
stack-report: ## Let the running stack deny nothing and take plaintext, to see what would be denied
	@cargo run --quiet --locked --package stack -- mode report

.PHONY: stack-would-deny
stack-would-deny: ## What the running stack would have denied in report mode
	@cargo run --quiet --locked --package stack -- would-deny

.PHONY: stack-enforce
stack-enforce: ## Enforce again
	@cargo run --quiet --locked --package stack -- mode enforce

.PHONY: stack-picture
stack-picture: ## Take the documentation's picture of its console page, with Chromium
	@cargo run --quiet --locked --package stack -- picture

.PHONY: wasm
wasm: ## Build the filters into dist/
	@tools/build-wasm
	@ls -l dist/*.wasm

.PHONY: test
test: check ## Formatting, lints, documentation, every test, in wasmtime and in real Envoy
	cargo test --locked --workspace

.PHONY: reproducible
reproducible: ## Build the filters again in another folder: every module has the same bytes
	@tools/check-reproducible

.PHONY: test-all
test-all: test reproducible ## Every test, and what takes a second build of the filters

.PHONY: oracle
oracle: ## 20,000 random policies and requests, identity-authz against Envoy's own RBAC filter
	ORACLE_PAIRS=$${ORACLE_PAIRS:-20000} cargo test --locked --package host-tests --test oracle -- --nocapture

.PHONY: check
check: ## Formatting, lints and documentation alone
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

.PHONY: bench
bench: ## Measure what each filter adds to a request in real Envoy, some fifteen minutes, and write docs/performance.md
	@cargo run --quiet --locked --package bench

.PHONY: clean
clean: ## Remove what was built; tools that were fetched stay in .tools
	rm -rf target dist .demo
