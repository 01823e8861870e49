# Few commands; `make` alone lists them. Everything runs in .venv, which the first command makes from pinned, hashed requirements.
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
BIN := .venv/bin
RECORDINGS ?=
REGISTRY ?=
IMAGES_OPTIONS ?=
E2E_OPTIONS ?=
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM := false
# Compiled once, not by each of the many processes: an empty value lets Python keep its byte code, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test unit check docs fix bench gpu serve studio lock audit golden images e2e clean

help:  ## list the commands
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/ready: requirements/dev.txt requirements/bootstrap.sh
	@UV_VERSION=$(UV_VERSION) bash requirements/bootstrap.sh

demo: .venv/ready  ## the whole journey on this machine; RECORDINGS=folder uses your own files
	@$(BIN)/python -m pipelines.demo $(if $(RECORDINGS),--recordings "$(RECORDINGS)")

test: .venv/ready check  ## all checks and tests
	@$(BIN)/python -m pytest -n 2 tests/unit
	@$(BIN)/python -m pytest tests/corpus tests/contract tests/integration

unit: .venv/ready  ## the tests that need no server and no model
	@$(BIN)/python -m pytest -n 2 tests/unit

check: .venv/ready  ## style, types, import contracts, declared dependencies
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target check-types check-imports check-style check-dependencies

.PHONY: check-types check-imports check-style check-dependencies
check-types:
	@$(BIN)/mypy

check-imports:
	@$(BIN)/lint-imports --no-cache > .venv/imports.log || (cat .venv/imports.log; false)

check-style:
	@$(BIN)/ruff check --no-cache . && $(BIN)/ruff format --check .

check-dependencies:
	@$(BIN)/deptry . 2> .venv/deptry.log || (cat .venv/deptry.log; false)

docs: .venv/ready  ## the documentation as a site, in site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

fix: .venv/ready  ## repair what ruff can repair
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: .venv/ready  ## measurements side by side; see benchmarks/README.md
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

gpu: .venv/ready  ## on a machine with a GPU, ten minutes: training, generation and memory beside stable-audio-tools, into gpu.json
	@$(BIN)/python -m benchmarks.gpu

serve: .venv/ready  ## the generation service on the demo's newest release, http://localhost:3000
	@$(BIN)/python -m pipelines.demo --serve-only

studio: .venv/ready  ## the studio on the demo's store, http://localhost:7860
	@AUDIOTUNE_STORE=$${AUDIOTUNE_STORE:-demo/store} $(BIN)/python -m services.studio

lock: .venv/ready  ## resolve the requirement files again
	@bash requirements/lock.sh

audit: .venv/ready  ## ask PyPI for advisories against the pinned packages
	@PIP_AUDIT_VERSION=$(PIP_AUDIT_VERSION) bash requirements/audit.sh

golden: .venv/ready  ## write the golden compiled pipelines again; read the difference before you commit it
	@for p in prepare tune full; do $(BIN)/python -m pipelines.compile $$p --recipe first_release --out tests/contract/golden/$$p.yaml; done

images: .venv/ready  ## build the container images; REGISTRY=host/prefix pushes them and writes their digests for the chart
	@$(BIN)/python -m deploy.images $(if $(REGISTRY),--registry "$(REGISTRY)") $(IMAGES_OPTIONS)

e2e: .venv/ready  ## the chart on a real cluster: KUBECONFIG=file REGISTRY=host/prefix; E2E_OPTIONS=--light is quicker
	@$(if $(REGISTRY),REGISTRY="$(REGISTRY)") $(if $(IMAGES_OPTIONS),IMAGES_OPTIONS="$(IMAGES_OPTIONS)") $(BIN)/python -m tests.e2e.cluster $(E2E_OPTIONS)

clean:  ## remove what the demo and the docs made
	rm -rf demo runs site
