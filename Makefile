# Everything that is done with this project has a name here. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Processors and test guests, built to WASM.
GUESTS := -p es-indexer -p visit-rows -p form-metadata-tracker -p cache-invalidation -p hostile -p ucr-row-builder

# How often `make chaos` kills.
ROUNDS ?= 300

# Servers for tests and for trying things out, each a script in tests/services.
SERVICES ?= kafka postgres opensearch elasticsearch redis couchdb

.PHONY: help setup guests demo demo-services test test-fast test-long chaos fuzz bench lint audit services-up services-down

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  %-15s %s\n", $$1, $$2 }'

setup: ## install what building needs (asks before it uses root)
	@.ci/install-debian build

guests: setup ## build the processors to WASM
	@guest-sdk/wasm-std build $(GUESTS)

demo: setup ## show it at work; DOCUMENTS=FILE takes your documents instead of made-up ones
	@DOCUMENTS="$(DOCUMENTS)" tests/demo/run

demo-services: ## the same through Apache Kafka, PostgreSQL and OpenSearch, which it starts and stops
	@.ci/install-debian test
	@DOCUMENTS="$(DOCUMENTS)" tests/demo/run services

test: ## everything that proves behaviour, starting the servers it needs
	@.ci/install-debian test
	@for service in kafka opensearch elasticsearch couchdb; do tests/services/$$service fetch; done
	@guest-sdk/wasm-std build $(GUESTS)
	cargo test --workspace --no-fail-fast

test-fast: ## unit tests only: no servers, no processes
	cargo test --workspace --lib

test-long: ## the tests, with more rounds of what is random
	@.ci/install-debian test
	@guest-sdk/wasm-std build $(GUESTS)
	PILLOWTOP_KILL_ROUNDS=100 PROPTEST_CASES=4096 cargo test --workspace

chaos: ## 300 rounds of kill -9, without servers and between them, and servers that are away for 20 s each
	@.ci/install-debian test
	@for service in kafka opensearch; do tests/services/$$service fetch; done
	@guest-sdk/wasm-std build $(GUESTS)
	PILLOWTOP_KILL_ROUNDS=$(ROUNDS) PILLOWTOP_OUTAGE_SECONDS=20 cargo test -p pillowtop --test kill -- --nocapture

fuzz: setup ## fuzz the language of reports, SECONDS=600 per target; TARGETS="rows json" fuzzes some
	@processors/ucr/fuzz/run $(or $(SECONDS),60) $(TARGETS)

bench: setup ## measure (release build, about ten minutes the first time); FIGURES="memory swap" measures some
	@.ci/install-debian test
	@for service in kafka postgres opensearch; do tests/services/$$service fetch; done
	PILLOWTOP_KAFKA_JVM="$${PILLOWTOP_KAFKA_JVM:--Xmx512m -XX:+UseSerialGC}" cargo bench -p pillowtop --bench bench -- $(FIGURES)

lint: ## format, clippy and documentation, warnings are errors
	cargo fmt --all --check
	cargo fmt --manifest-path processors/ucr/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

audit: ## licences, advisories and sources of dependencies (needs cargo-deny)
	cargo deny check

services-up: ## start servers for tests and print their addresses as variables; SERVICES="kafka redis" starts some
	@mkdir -p target/services
	@for service in $(SERVICES); do \
	    address=$$(tests/services/$$service start target/services/$$service); \
	    echo "export PILLOWTOP_TEST_$${service^^}=$$address"; \
	done

services-down: ## stop them; their data stay in target/services
	@for service in $(SERVICES); do tests/services/$$service stop target/services/$$service; done
