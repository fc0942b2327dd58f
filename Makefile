# The two commands of the README are `make run` and `make test`. Each does its own set-up: Debian packages where it
# is run by root (else it says the one line to run), Python packages into .venv.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test check coverage soak screenshots bench plots proto clean packages-run packages-test packages-bench packages-proto

run: packages-run $(VENV)/.run
	@$(BIN)/hermes serve --dev $(ARGS)

test: packages-test $(VENV)/.test check
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)
	@$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=95

check: $(VENV)/.test
	$(BIN)/ruff check hermes tests bench
	$(BIN)/ruff format --check hermes tests bench
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit/test_layers.py

# faults at random for a quarter of an hour; ARGS="--seconds 3600 --seed 7"
soak: packages-test $(VENV)/.test
	$(BIN)/python -m tests.soak.run $(ARGS)

# the README's picture
screenshots: packages-test $(VENV)/.test
	$(BIN)/python -m tests.support.screenshots

bench: packages-bench $(VENV)/.bench
	$(BIN)/python -m bench $(ARGS)

# what `make bench ARGS="sweep --json docs/reference/performance.json"` found
plots: $(VENV)/.bench
	$(BIN)/python -m bench.plots

# after a change of hermes/ingest/sparkplug/sparkplug_b.proto
proto: packages-proto
	cd hermes/ingest/sparkplug && protoc --descriptor_set_out=sparkplug_b.desc --pyi_out=. sparkplug_b.proto

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov artifacts tests/js/node_modules \
	  bench/contenders/node/node_modules

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	@touch $@ $(VENV)/.run $(VENV)/.test

# program:package or file:package, installed where that is missing; as a plain user only told
RUN_PACKAGES := mosquitto:mosquitto
TEST_PACKAGES := $(RUN_PACKAGES) mosquitto_pub:mosquitto-clients chromium-headless-shell:chromium-headless-shell node:nodejs npm:npm \
	systemd-analyze:systemd setpriv:util-linux gcc:gcc /usr/include/stdlib.h:libc6-dev
BENCH_PACKAGES := $(RUN_PACKAGES) chromium:chromium gcc:gcc /usr/include/stdlib.h:libc6-dev node:nodejs npm:npm nginx:nginx-light \
	/usr/lib/nginx/modules/ngx_nchan_module.so:libnginx-mod-nchan

PROTO_PACKAGES := protoc:protobuf-compiler

packages-run:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(RUN_PACKAGES)

packages-test:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(TEST_PACKAGES)

# offline, or nginx's own service would begin to listen
packages-bench:
	@PATH="$$PATH:/usr/sbin:/sbin" SYSTEMD_OFFLINE=1 sh -c '$(INSTALL)' install $(BENCH_PACKAGES)

packages-proto:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(PROTO_PACKAGES)

define INSTALL
$(PYTHON) -c "import ensurepip" 2>/dev/null || missing=python3-venv; \
for pair in "$$@"; do command -v "$${pair%%:*}" >/dev/null || [ -e "$${pair%%:*}" ] || missing="$$missing $${pair##*:}"; done; \
[ -n "$$missing" ] || exit 0; \
if [ "$$(id -u)" = 0 ]; then \
  apt-get update -qq; \
  for package in $$missing; do \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$package >/dev/null \
      || echo "$$package could not be installed; what cannot do without it will say so" >&2; \
  done; \
else \
  echo "missing: $$missing; to have everything, run: sudo apt-get install $$missing" >&2; \
fi
endef
