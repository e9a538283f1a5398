# Every target makes what it needs: the virtual environment from the lock, the lab's packages from apt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := inventory/lab
PORT ?= 5000

export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-exports fuzz lint format serve bench bench-quick lab-up lab-down gce-rehearsal \
	power-cuts lock clean

include packages.mk

help:  ## Says what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready  ## Makes the virtual environment .venv from the lock: Ansible, the app, and what checks them

demo: lab-up  ## From nothing to an annotated picture: a bare machine, the service on it, a prediction (needs root)
	$(BIN)/ansible-playbook -i $(LAB) site.yml
	$(BIN)/ansible-playbook -i $(LAB) playbooks/demo.yml

test: $(VENV)/.ready lab-packages browser-packages  ## Runs all tests, those on lab machines too (needs root), and says what was skipped
	$(BIN)/pytest -ra --numprocesses auto --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.ready  ## Sends damaged pictures and requests to the real service, and measures (REQUESTS=20000, SEED=1)
	$(BIN)/python -m tests.fuzz $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED))

test-exports: build/exports/.ready  ## Compares exports with their own predictors (fetches PyTorch, into build/)
	build/exports/bin/pytest -ra tests/exports

lint: $(VENV)/.ready  ## Checks style: ruff, yamllint, ansible-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" ansible-lint

format: $(VENV)/.ready  ## Formats the Python code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

serve: $(VENV)/.ready  ## The app alone, on this machine, without root: http://127.0.0.1:5000 (PORT=, MODEL=)
	$(BIN)/barevision serve --port $(PORT) $(if $(MODEL),--model $(MODEL))

bench: $(VENV)/.ready bench-packages lab-up  ## Measures all servers side by side, for hours (needs root; NAME=, OPTIONS=)
	$(MAKE) build/exports/.ready || echo "YOLO11n will be skipped: it needs the environment build/exports" >&2
	$(BIN)/python -m benchmarks $(or $(NAME),full) --lab $(LAB) --readme $(OPTIONS)

bench-quick: $(VENV)/.ready bench-packages  ## Measures a small network in three servers, in three minutes
	rm -f build/bench/runs/quick.jsonl
	$(BIN)/python -m benchmarks quick --quick

lab-up: $(VENV)/.ready lab-packages  ## Makes the lab's machines, as inventory/lab lists them (needs root)
	$(BIN)/ansible-playbook -i $(LAB) playbooks/lab.yml

lab-down: $(VENV)/.ready  ## Takes the lab's machines down and removes all of their files (needs root)
	$(BIN)/ansible-playbook -i $(LAB) playbooks/lab.yml -e lab_machine_state=absent

gce-rehearsal: $(VENV)/.ready lab-packages  ## All of docs/gce.md on machines of this computer, and every failure (needs root)
	$(BIN)/pytest -ra --verbose --numprocesses auto --dist loadfile --no-loadscope-reorder -m 'long or not long' tests/gce

power-cuts: $(VENV)/.ready lab-packages  ## Cuts a machine's power in the middle of deployments (needs root and a loop device)
	$(BIN)/pytest -ra --verbose -m long tests/e2e

# OpenVINO and NNCF run without openvino-telemetry, which would tell Google Analytics of every import.
lock: $(VENV)/.ready  ## Resolves the dependencies anew: app/requirements.txt and requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header \
		--no-emit-package openvino-telemetry --upgrade app/pyproject.toml --output-file app/requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header \
		--no-emit-package openvino-telemetry --upgrade --constraint app/requirements.txt app/pyproject.toml \
		--extra quantize \
		--group deploy --group lint --group lock --group test --output-file requirements.txt

clean:  ## Removes what make made in this folder (make lab-down removes the lab)
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis .ansible app/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: requirements.txt app/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	@# uv, itself from the lock, installs in seconds what takes pip two minutes.
	sed -n '/^uv==/,/# via/p' requirements.txt > $(VENV)/uv.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
	UV_SYSTEM_CERTS=1 $(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable app
	@touch $@

# Not in requirements.txt: PyTorch is a gigabyte. Where pip would fetch its CUDA build, which is more, and which does not
# run without the libraries left out here: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-exports
build/exports/.ready: app/requirements.txt tests/exports/requirements.txt
	$(PYTHON) -m venv --clear build/exports
	build/exports/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement app/requirements.txt
	build/exports/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement tests/exports/requirements.txt
	@touch $@
