# Each command does its own set-up: Python packages into .venv; Debian packages when root runs it, otherwise it prints the
# apt-get line to run.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PACKAGING := build/packaging
ARGS ?=
# one more than cores, at most 4: some tests wait for other programs or for the clock
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
FUZZ_MINUTES ?= 5
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# compiled modules halve the start of a program and of the tests, also where the environment asks for none
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run cluster test test-fast test-all test-console test-random test-loaded covered-tests autobahn fuzz soak \
	check lint style types format coverage docs bench plots binary deb test-appliance screenshots proto clean \
	packages-run packages-test packages-bench packages-binary packages-appliance packages-all packages-proto

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: packages-run $(VENV)/.run ## try Hermes: own broker, simulated devices, a console to open
	@$(BIN)/hermes serve --dev $(ARGS)

cluster: packages-test $(VENV)/.test ## try several nodes: three Hermes, NATS, PostgreSQL, mosquitto and a proxy
	@$(BIN)/python -m tests.support.cluster_site $(ARGS)

test: packages-test $(VENV)/.test style ## run the checks and the test suite with coverage
	@$(MAKE) --no-print-directory --jobs 2 covered-tests types || \
	  { echo "failed: see above, either the tests or, among their dots, mypy" >&2; exit 1; }

# make test runs it beside mypy, which uses one core
covered-tests: $(VENV)/.test
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest $(PARALLEL) -m "not slow" $(ARGS)
	@$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=95

test-fast: $(VENV)/.test ## run the tests that need neither a browser nor a broker nor a database (at most 60 seconds)
	$(PYTEST) $(PARALLEL) --hypothesis-profile fast -m "not browser and not broker and not postgres and not slow" $(ARGS) \
		--ignore tests/integration/test_faults.py tests/unit tests/integration tests/test_notifications_ws.py

test-console: packages-test $(VENV)/.test ## run all tests of the console and of the browser client; "make test" has the most important ones
	$(PYTEST) $(PARALLEL) tests/console $(ARGS)

test-all: packages-test packages-appliance packages-all $(VENV)/.test lint ## run everything: the slow tests, then FUZZ_MINUTES of random input (about an hour)
	$(PYTEST) $(PARALLEL) --hypothesis-profile all $(ARGS)
	$(MAKE) fuzz ARGS=

test-random: packages-test $(VENV)/.test ## run the test suite in a random order; it prints the seed
	$(PYTEST) $(PARALLEL) -m "not slow" -p randomly $(ARGS)

test-loaded: packages-test $(VENV)/.test ## run the test suite with two busy loops beside it
	$(BIN)/python -m tests.support.busy_loops $(PYTEST) $(PARALLEL) -m "not slow" $(ARGS)

autobahn: packages-test $(VENV)/.test ## run every case of the Autobahn|Testsuite (at most 25 minutes; needs Python 2.7)
	AUTOBAHN_ALL=1 $(PYTEST) -rA tests/integration/test_autobahn.py $(ARGS)

fuzz: $(VENV)/.test ## try random input for 5 minutes, until something fails; FUZZ_MINUTES=60 ARGS="-k frames"
	@end=$$(($$(date +%s) + 60 * $(FUZZ_MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
	  $(PYTEST) $(PARALLEL) --hypothesis-profile long tests/fuzz $(ARGS) || exit 1; done

check: lint ## lint, format check, types, layers
	$(PYTEST) -q tests/unit/test_layers.py

lint: style types

style: $(VENV)/.test
	$(BIN)/ruff check hermes tests bench examples packaging
	$(BIN)/ruff format --check hermes tests bench examples packaging

types: $(VENV)/.test
	$(BIN)/mypy

format: $(VENV)/.test ## format the Python code and sort its imports
	$(BIN)/ruff check --select I --fix hermes tests bench examples packaging
	$(BIN)/ruff format hermes tests bench examples packaging

coverage: ## write the coverage of the last "make test" to htmlcov/
	$(BIN)/coverage html

docs: $(VENV)/.run ## write the generated tables of docs/reference
	$(BIN)/python -m hermes.settings.reference docs/reference/configuration.md

bench: packages-bench $(VENV)/.bench ## measure Hermes against its peers; ARGS="fan-out notify"
	$(BIN)/python -m bench $(ARGS)

plots: $(VENV)/.bench ## draw the figures of the last "make bench ARGS='sweep --json …'"
	$(BIN)/python -m bench.plots

soak: packages-test $(VENV)/.test ## cause random faults for 15 minutes; ARGS="--seconds 3600 --seed 7"
	$(BIN)/python -m tests.soak.run $(ARGS)

# every user may run them, also if only their builder may read new files by default
binary: packages-binary $(PACKAGING)/.ready ## build dist/hermes, one file with Python and mosquitto, and dist/hermes-onedir
	umask 022 && $(PACKAGING)/bin/pyinstaller --noconfirm --log-level WARN --workpath build/binary --distpath dist packaging/hermes.spec

deb: binary ## build the Debian package dist/hermes-gateway_VERSION_ARCH.deb
	$(PACKAGING)/bin/python packaging/deb.py

test-appliance: packages-appliance $(VENV)/.test ## build both and test them: an empty root, a fresh Debian
	$(PYTEST) -q tests/appliance $(ARGS)

screenshots: packages-test $(VENV)/.test ## take the picture of the README
	$(BIN)/python -m tests.support.screenshots

proto: packages-proto ## compile hermes/ingest/sparkplug/sparkplug_b.proto after a change
	cd hermes/ingest/sparkplug && protoc --descriptor_set_out=sparkplug_b.desc --pyi_out=. sparkplug_b.proto

clean: ## remove everything that the commands made
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* htmlcov artifacts .autobahn tests/js/node_modules \
	  bench/contenders/node/node_modules examples/node/node_modules examples/react/node_modules

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

# only what the program needs: PyInstaller collects what it finds
$(PACKAGING)/.ready: setup.cfg packaging/requirements.txt
	$(PYTHON) -m venv $(PACKAGING)
	$(PACKAGING)/bin/python -m pip install --quiet -r packaging/requirements.txt --editable '.[cbor,postgres,sparkplug,websockets]'
	@touch $@

# program:package or file:package, installed if it is missing
RUN_PACKAGES := mosquitto:mosquitto mosquitto_pub:mosquitto-clients
TEST_PACKAGES := $(RUN_PACKAGES) chromium-headless-shell:chromium-headless-shell node:nodejs npm:npm \
	systemd-analyze:systemd setpriv:util-linux curl:curl gcc:gcc /usr/include/stdlib.h:libc6-dev \
	ip:iproute2 nft:nftables faketime:faketime openssl:openssl nginx:nginx-light haproxy:haproxy caddy:caddy apache2:apache2-bin man:man-db nats-server:nats-server \
	psql:postgresql
BENCH_PACKAGES := $(RUN_PACKAGES) chromium:chromium gcc:gcc /usr/include/stdlib.h:libc6-dev node:nodejs npm:npm nginx:nginx-light \
	/usr/lib/nginx/modules/ngx_nchan_module.so:libnginx-mod-nchan psql:postgresql nats-server:nats-server
BINARY_PACKAGES := $(RUN_PACKAGES) patchelf:patchelf objdump:binutils /usr/share/doc/libpq5/copyright:libpq5
APPLIANCE_PACKAGES := $(BINARY_PACKAGES) mmdebstrap:mmdebstrap systemd-nspawn:systemd-container lintian:lintian podman:podman runc:runc
# the examples in PHP and C#, and a Chromium that shows notifications
ALL_PACKAGES := php:php-cli mcs:mono-mcs \
	/usr/lib/mono/4.5/System.Runtime.Serialization.dll:libmono-system-runtime-serialization4.0-cil chromium:chromium
PROTO_PACKAGES := protoc:protobuf-compiler

packages-run:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(RUN_PACKAGES)

# offline, otherwise the services of the proxies start to listen
packages-test:
	@PATH="$$PATH:/usr/sbin:/sbin" SYSTEMD_OFFLINE=1 sh -c '$(INSTALL)' install $(TEST_PACKAGES)

packages-bench:
	@PATH="$$PATH:/usr/sbin:/sbin" SYSTEMD_OFFLINE=1 sh -c '$(INSTALL)' install $(BENCH_PACKAGES)

packages-binary:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(BINARY_PACKAGES)

packages-appliance:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(APPLIANCE_PACKAGES)

packages-all:
	@PATH="$$PATH:/usr/sbin:/sbin" sh -c '$(INSTALL)' install $(ALL_PACKAGES)

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
      || echo "$$package could not be installed; the tests that need it report that" >&2; \
  done; \
else \
  echo "missing: $$missing; to install everything, run: sudo apt-get install $$missing" >&2; \
fi
endef
