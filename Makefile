# flipbench. `make help` lists the targets; `make demo` and `make test` work on a fresh machine.
#
# Variables: EXP=name         the experiment, a file in experiments/
#            CELL, PROCESSES  one run of `make train`, and how many processes train it together
#            ARGS="..."       passed on to flipbench, for example ARGS="--workers 4 --set train.epochs=5"
#            PYTHON=python3   the interpreter that makes the environment (3.11 or newer)
#            TORCH=cpu        take torch's small CPU build; needs access to torch's own package index

PYTHON ?= python3
VENV   ?= .venv
EXP    ?=
ARGS   ?=
TORCH  ?=
PROCESSES ?= 1

# Python keeps what it has compiled, also where the environment forbids it: every process starts seconds sooner.
export PYTHONDONTWRITEBYTECODE :=

VENV_PATH := $(abspath $(VENV))
FLIPBENCH := $(VENV_PATH)/bin/flipbench
# Without the variable of `train`, torch 2.15 mostly fails to restart: the new processes find the old ones' keys.
TORCHRUN  := $(VENV_PATH)/bin/torchrun --standalone --nproc-per-node $(PROCESSES) --max-restarts 3
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
DASHBOARD_READY := $(VENV)/.ready-dashboard

.DEFAULT_GOAL := help
.PHONY: help demo sweep tune train prepare report claims claim study status verify plan list publish export dashboard setup test torture \
        pytest check lint types calibrate lock clean bench bench-peers

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# The demo trains, also where its records are published.
demo: $(RUN_READY) ## the whole comparison in small: tunes, trains, writes results/demo/report/index.html
	@$(FLIPBENCH) sweep demo --no-adopt $(ARGS)
	@echo "next: a method of your own among these. $(VENV)/bin/flipbench new-method NAME, then check and place its file"

sweep: $(RUN_READY) ## the whole way for EXP=name: tuning, final runs, report; run it again after a stop
	@$(FLIPBENCH) sweep "$(call needs_exp)" $(ARGS)

tune: $(RUN_READY) ## only the tuning of EXP=name
	@$(FLIPBENCH) tune "$(call needs_exp)" $(ARGS)

train: $(RUN_READY) ## one run: EXP=name CELL=data.model.method; PROCESSES=8 shares it out over GPUs or cores
	@TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 \
	  $(if $(filter-out 1,$(PROCESSES)),$(TORCHRUN) -m suite.cli,$(FLIPBENCH)) \
	  train "$(call needs_exp)" $(or $(CELL),$(error name a cell: make plan EXP=$(EXP) shows them)) $(ARGS)

prepare: $(RUN_READY) ## convert ImageNet once, for speed: SRC=tree DST=folder ARGS="--encoding pixels"
	@$(FLIPBENCH) prepare imagenet $(or $(SRC),$(error name SRC, the tree of images)) $(or $(DST),$(error name DST)) $(ARGS)

report: $(RUN_READY) ## write the report of EXP=name from the records that are there
	@$(FLIPBENCH) report "$(call needs_exp)" $(ARGS)

# A sweep that ends with 1 or 2 lacks some runs: the other claims go on, and make ends with that code.
claims: $(RUN_READY) ## the whole way for every claim of experiments/claims/, then their page; run it again after a stop
	@worst=0; for file in experiments/claims/*.yaml; do \
	  $(FLIPBENCH) sweep $$file $(ARGS); code=$$?; \
	  if [ $$code -gt 2 ]; then exit $$code; elif [ $$code -gt $$worst ]; then worst=$$code; fi; \
	done; $(FLIPBENCH) claims && exit $$worst

# With --set the records are another experiment's: the sweep ends with their verdict and their name.
claim: $(RUN_READY) ## one claim, C=theorem-1 (a file of experiments/claims/), then its verdict
	@$(FLIPBENCH) sweep claims/$(or $(C),$(error name a claim: make claim C=theorem-1)) $(ARGS); code=$$?; \
	  [ $$code -gt 2 ] || $(if $(findstring --set,$(ARGS)),:,$(FLIPBENCH) claims claims/$(C)); exit $$code

study: $(RUN_READY) ## how easy each method of EXP=name is to tune, and what its tuning gained
	@$(FLIPBENCH) study "$(call needs_exp)" $(ARGS)

status: $(RUN_READY) ## how far EXP=name has come, and whether a sweep works there; ARGS=--watch looks again
	@$(FLIPBENCH) status "$(call needs_exp)" $(ARGS)

verify: $(RUN_READY) ## check that all records of EXP=name are there and intact; ARGS="--replay 3" repeats runs
	@$(FLIPBENCH) verify "$(call needs_exp)" $(ARGS)

plan: $(RUN_READY) ## cells, trials, epochs and disk of EXP=name, before anything runs
	@$(FLIPBENCH) plan "$(call needs_exp)" $(ARGS)

list: $(RUN_READY) ## methods, models, data sets, probes and experiments
	@$(FLIPBENCH) list $(ARGS)

publish: $(RUN_READY) ## write the records of EXP=name as one file, with its report, to results/published/
	@$(FLIPBENCH) publish "$(call needs_exp)" $(ARGS)

export: $(RUN_READY) ## tables of all runs and curves of EXP=name; ARGS="--csv --to FOLDER", see docs/records.md
	@$(FLIPBENCH) export "$(call needs_exp)" $(or $(ARGS),--csv)

dashboard: $(DASHBOARD_READY) ## open optuna-dashboard on EXP=name, also while its sweep runs
	@$(FLIPBENCH) dashboard "$(call needs_exp)" $(ARGS)

setup: $(RUN_READY) ## create the environment in .venv and nothing else

test: lint ## the full check: format, lint, types, import contracts, tests
	@$(MAKE) --no-print-directory --jobs 2 types pytest

# Some tests wait for the processes that they start: three at once keep two cores busy.
pytest: $(DEV_READY)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

torture: $(DEV_READY) ## kill sweeps and fail their disk hundreds of times, then compare their records
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.torture $(ARGS)

check: lint types ## the part of the check that runs no test

lint: $(DEV_READY)
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run: $(VENV)/bin/ruff format ."; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/lint-imports --no-logo

types: $(DEV_READY)
	@$(VENV)/bin/pyright

calibrate: $(RUN_READY) ## how often verdicts are right: simulated tasks, results/published/calibration/
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m report.calibration $(ARGS)

lock: $(DEV_READY) ## resolve the pinned versions again, for every Python and platform
	@$(VENV)/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-header --no-annotate --upgrade --quiet --output-file constraints.txt

bench: $(RUN_READY) ## measure this machine: training step, optimizers, data, overhead; writes results/bench
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m bench $(ARGS)

bench-peers: $(RUN_READY) bench/peers/.venv/.ready ## compare the training step with larq on TensorFlow and a naive port
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m bench.peers.compare $(ARGS)

bench/peers/.venv/.ready: bench/peers/requirements.txt
	@echo "installing larq and TensorFlow into bench/peers/.venv (about 2 GB)"
	@$(PYTHON) -m venv bench/peers/.venv
	@bench/peers/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean: ## remove the environment and caches; results stay
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

needs_exp = $(or $(EXP),$(error name an experiment: make $@ EXP=demo (make list shows them)))

$(RUN_READY): pyproject.toml constraints.txt
	@$(call install,.)
	@$(FLIPBENCH) list >/dev/null  # it works, and its next start is quick
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt
	@$(call install,.[dev])
	@touch $(RUN_READY) $(DASHBOARD_READY) $@

$(DASHBOARD_READY): pyproject.toml constraints.txt
	@$(call install,.[dashboard])
	@touch $(RUN_READY) $@

# uv is quick; pip is the fallback where uv cannot reach what pip's own configuration can.
define install
set -e; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo "flipbench needs Python 3.11 or newer: make $@ PYTHON=/path/to/python3.11"; exit 1; }; \
[ -x $(VENV)/bin/python ] || { \
  echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }; \
echo "installing flipbench (about 5 GB with torch)"; \
{ $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv && \
  VIRTUAL_ENV=$(VENV_PATH) $(VENV)/bin/uv pip install --quiet --editable '$(1)' -c constraints.txt \
    $(if $(TORCH),--torch-backend $(TORCH)); } || \
{ $(if $(TORCH),echo "TORCH=$(TORCH) needs uv"; exit 1;) echo "uv could not; trying pip"; \
  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '$(1)' -c constraints.txt; }
endef
