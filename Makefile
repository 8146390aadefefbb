# Every command that the project needs; each is short enough to be typed by hand.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
FUZZTIME ?= 30s
BENCHFLAGS ?=

.PHONY: help build install test race e2e demo lint bench fuzz generate clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

build: ## bin/gitgate
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o bin/gitgate ./cmd/gitgate

install: ## gitgate into GOBIN
	CGO_ENABLED=0 go install -trimpath -ldflags="-s -w" ./cmd/gitgate

test: ## all tests but those that start a real control plane
	go test -short ./...

# Left out is what would take minutes under the race detector and shares nothing: packages without sync, the building of those that contain
# Kubernetes, and hostile charts and archives, which are stopped at a bound.
race: ## the tests of what goroutines share, under the race detector
	go test -short -race -skip '^TestAHostile' $$(go list -f '{{.ImportPath}} {{.Imports}}' ./... | awk '$$1 !~ /\/test\// && /[[ ]sync(\/atomic)?[] ]/ {print $$1}' | \
		xargs go list -test -f '{{if .ForTest}}{{else}}{{.ImportPath}} {{.Deps}}{{end}}' | awk '$$1 ~ /\.test$$/ && !/k8s\.io\/kubernetes\// {sub(/\.test$$/, "", $$1); print $$1}')

e2e: ## the tests against a real API server, Flux and Argo CD, built from modules once (about half an hour); needs redis-server
	go test -count=1 -timeout 60m ./test/e2e ./test/conformance ./test/parity ./test/controlplane/...

demo: ## a commit that is admitted and a kubectl edit that is not, in a real cluster on this machine
	go run ./test/demo

lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then printf 'gofmt -w is due for:\n%s\n' "$$unformatted"; exit 1; fi
	go vet ./...
	go tool -modfile=test/tools/go.mod staticcheck ./...

bench: ## gitgate beside kubeconform, conftest, gator and the Kyverno CLI (BENCHFLAGS="-rounds 3 -run gatekeeper")
	go run ./test/bench $(BENCHFLAGS)

fuzz: ## every fuzz test for FUZZTIME (30s)
	@git grep -l '^func Fuzz' -- '*_test.go' | while read -r file; do \
		grep -o '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -c6- | while read -r name; do \
			echo "$$name ($$(dirname "$$file"))"; \
			go test "./$$(dirname "$$file")" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME); \
		done; \
	done

generate: ## golden files and the examples in docs/, after a change of what is written
	go test ./report -update
	go test ./policies/library -run Page -update

clean: ## what make build has made
	rm -rf bin
