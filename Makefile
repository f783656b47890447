# Gatehouse. `make` alone lists the targets; CONTRIBUTING.md says when to use which.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A CI runner or a service manager may start us with next to no environment.
ifeq ($(HOME),)
export HOME := $(shell getent passwd "$$(id -u)" | cut -d: -f6)
endif
export PATH := $(PATH):/usr/local/go/bin
export GOTOOLCHAIN ?= local
# Git answers nothing in an unpacked archive, nor in a checkout that belongs to somebody else; go would then refuse to build.
ifeq ($(shell git rev-parse HEAD 2>/dev/null),)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

CMDS := $(patsubst %/main.go,./%,$(wildcard cmd/*/main.go))
# Packages that share memory between goroutines: a gate's, and what counts and orders at central.
RACE_DIRS := gate central/api/hot central/api/live central/notify central/roster central/checkin central/staff central/registration central/replay hardware/serialscan
RACE_PKGS := $(patsubst %,./%/...,$(wildcard $(RACE_DIRS)))

DEMO_SECONDS ?=
FUZZTIME ?= 10s
SEEDS ?= 2000
SEED ?= 1
SOAK_SECONDS ?= 1800
SOAK_COUNT ?= 20
BENCHFLAGS ?=
DURATION ?= 60s
RATE ?= 1700
STREAMS ?= 5000
LOADFLAGS ?=
TESTFLAGS ?=
# How often gates are killed, and which of the first calls to the disk fail, with how many more up to the 200th drawn by lot.
KILLS ?= 200
FAULTS ?= 30
FAULTS_DRAWN ?= 20

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z/]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build every program into bin/
	@scripts/install-deps.sh go
	@mkdir -p bin
	@$(if $(CMDS),echo "Building $(notdir $(CMDS)); the first time takes a few minutes.",echo "There is no cmd/ to build yet.")
	@$(if $(CMDS),CGO_ENABLED=0 go build -trimpath -o bin/ $(CMDS))

.PHONY: demo
demo: ## Run the main job on this machine; DEMO_SECONDS=30 for the whole script in about 30 s
ifeq ($(wildcard cmd/demo),)
	@echo "There is no cmd/demo yet, so there is nothing to show."
else
	@scripts/install-deps.sh demo
	@$(MAKE) build
	@exec bin/demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))
endif

.PHONY: test
test: ## Run every test, on a real Postgres
	@scripts/install-deps.sh test
	go test $(TESTFLAGS) ./...

.PHONY: test/race
test/race: ## Run the tests of the concurrent packages under the race detector
	@scripts/install-deps.sh test race
	$(if $(RACE_PKGS),CGO_ENABLED=1 go test -race $(TESTFLAGS) $(RACE_PKGS),@echo "None of $(RACE_DIRS) is there yet.")

.PHONY: test/hard
test/hard: ## Kill real gates KILLS (200) times, and fail each of their first FAULTS (30) writes and FAULTS_DRAWN (20) later ones
	@scripts/install-deps.sh test
	E2E_KILLS=$(KILLS) E2E_FAULTS=$(FAULTS) E2E_FAULTS_DRAWN=$(FAULTS_DRAWN) go test $(TESTFLAGS) -count=1 -timeout=0 -v \
		-run '^(TestGatesThatAreKilledAgainAndAgainLoseNothing|TestAWriteThatFailsIsNeverAFalseGreen)$$' ./cmd/e2e_test | grep -vE '^=== (RUN|PAUSE|CONT)'

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (10s) each
	@scripts/install-deps.sh go
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: ## Measure the figures in README, each beside its physical limit; BENCHFLAGS="--json FILE" keeps them
	@scripts/install-deps.sh demo
	@$(MAKE) build
	@bin/gatebench $(BENCHFLAGS)

.PHONY: load
load: ## Put the load of a busy festival on a central and 5000 live streams on it, by k6; DURATION=60s RATE=1700 STREAMS=5000 LOADFLAGS="--json FILE"
	@scripts/install-deps.sh demo
	@$(MAKE) build
	@bin/loadtest --k6 "$$(scripts/tool.sh k6)" --duration $(DURATION) --rate $(RATE) --streams $(STREAMS) $(LOADFLAGS)

.PHONY: bench/smoke
bench/smoke: ## See that every benchmark runs, for a second each; no figure fails it
	@scripts/install-deps.sh demo
	@scripts/bench-smoke.sh
ifneq ($(wildcard cmd/gatebench),)
	@$(MAKE) build
	@bin/gatebench --quick
endif
	@bin/loadtest --quick

.PHONY: sim
sim: ## Play SEEDS (2000) simulated fleets from SEED (1) on, and see that the simulator finds every bug of its bank
	@scripts/install-deps.sh go
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/fleetsim
	@bin/fleetsim --seeds $(SEEDS) --start $(SEED)
	@bin/fleetsim --bugs

.PHONY: generate
generate: ## Make the code and the Postman collection of central/api/openapi.yaml
	@scripts/install-deps.sh go
	@scripts/generate.sh

.PHONY: lint
lint: ## Check format, vet, and golangci-lint with staticcheck
	@scripts/install-deps.sh go
	@scripts/lint.sh

.PHONY: cover
cover: ## Run every test with coverage, into coverage.html
	@scripts/install-deps.sh test
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	@go tool cover -html=coverage.out -o coverage.html
	@go tool cover -func=coverage.out | tail -n 1

.PHONY: verify
verify: ## Check that go.mod and go.sum are tidy and that the modules are what they say
	@scripts/install-deps.sh go
	go mod tidy -diff
	go mod verify
	cd tools && go mod tidy -diff && go mod verify

.PHONY: soak
soak: ## Run the long checks: races SOAK_COUNT (20) times over, 2000 kills, 200 failing writes, 200,000 simulated fleets, fuzzing for 5m, the demo for SOAK_SECONDS (1800)
	@$(MAKE) test/race TESTFLAGS="-count=$(SOAK_COUNT) -timeout=0"
	@$(MAKE) test/hard KILLS=2000 FAULTS=200 FAULTS_DRAWN=0
	@$(MAKE) sim SEEDS=200000 SEED=$$RANDOM$$RANDOM
	@$(MAKE) fuzz FUZZTIME=5m
	@$(MAKE) demo DEMO_SECONDS=$(SOAK_SECONDS)

.PHONY: ci
ci: ## Run what CI runs
	@.ci/run
