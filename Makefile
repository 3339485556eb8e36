# Set-up, demo, tests and benchmarks. Everything lands in .venv, build and .cache.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
ROOT   := $(shell id -u)
EXT    := $(wildcard wgpy/_fast/*.p[xy]? wgpy/_fast/c/*/*.[ch] wgpy/suite/*.h)
QUICK  := $(filter --quick,$(BENCH_ARGS))
RELEASE ?= bookworm
ARCH    ?= amd64
FUZZ_SECONDS  ?= 300
FUZZ_EXAMPLES ?= 20000
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Programs that pip and pytest start run the tree's modules and the environment's, no others.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE
export PYTHONNOUSERSITE := 1

.PHONY: help setup demo lint quick test long bench fuzz fresh guests wheel lock sbom lines clean
.DELETE_ON_ERROR:

help:
	@echo "make setup   packages, virtual environment, extension modules"
	@echo "make demo    a tunnel, then two encryptors of three rooms, real traffic (as root)"
	@echo "make lint    ruff, mypy, the look of C, and the stubs of the extension modules against what is built"
	@echo "make quick   lint and the tests that need no namespace, guest or build: for between two thoughts"
	@echo "make test    all tests as root but the long ones; the unit tests otherwise"
	@echo "make long    those that add minutes and little (as root)"
	@echo "make bench   micro benchmarks, scaling, a profile, then tunnels against their peers (as root)"
	@echo "make fuzz    C targets for FUZZ_SECONDS=$(FUZZ_SECONDS) each, Python ones for FUZZ_EXAMPLES=$(FUZZ_EXAMPLES)"
	@echo "make fresh   demo and test in a new minimal root of RELEASE=$(RELEASE) (bookworm, trixie; as root);"
	@echo "             KEEP=1 keeps it for another run, COMMAND='make test PYTEST_ARGS=...' runs that instead"
	@echo "make guests  dist/guests/ARCH: images of the rooms as virtual machines, from packages of Debian RELEASE,"
	@echo "             for ARCH=$(ARCH) (amd64, arm64); REFRESH=1 looks for newer packages; see docs/guests.md"
	@echo "make wheel   sdist and wheel into dist/"
	@echo "make lock    requirements.lock anew: every dependency with the hashes of its files"
	@echo "make sbom    dist/wgpy.cdx.json, the bill of materials (CycloneDX)"
	@echo "make lines   lines of each process by room; PROCESS=crypto lists its files"
	@echo "make clean   removes build products, keeps .cache"

setup:
	@tools/packages.sh base
	@$(MAKE) -s $(VENV)/.built
	@tools/hand-back.sh
	@echo "setup: ready"

$(VENV)/.dependencies: pyproject.toml
	@tools/venv.sh "$(PYTHON)" $(VENV)
	@touch $@

$(VENV)/.built: $(VENV)/.dependencies setup.py $(EXT)
	@echo "setup: building the extension modules"
	@$(PY) -I -m pip install -q --no-build-isolation --no-deps -e .
	@touch $@

demo: setup
ifneq ($(ROOT),0)
	@echo "demo: network namespaces and TUN devices need root: sudo make demo" >&2; exit 1
else
	@$(PY) -I -m wgpy.lab.demo
	@$(PY) -I -m wgpy.lab.encryptor_demo
endif

INNER  := $(addprefix tests/,architecture protocol timers sim unit plane vectors)
BUILDS := tests/unit/test_c_core.py tests/plane/test_sanitized.py tests/vectors/test_aead_timing.py
# As a test of tests/architecture each of these is part of quick and test.
lint: setup
	@$(PY) -I -m pytest -q tests/architecture/test_lint.py tests/architecture/test_c_look.py $(PYTEST_ARGS)

quick: setup
	@$(PY) -I -m pytest -q -m "not netns and not interop and not slow" $(INNER) $(BUILDS:%=--ignore=%) $(PYTEST_ARGS)

test: setup
	@tools/packages.sh test
ifneq ($(ROOT),0)
	@echo "test: not root, so only the tests without namespaces and peers; sudo make test runs all"
	@$(PY) -I -m pytest -m "not netns and not interop and not long" $(PYTEST_ARGS)
else
	@$(PY) -I -m pytest -m "not long" $(PYTEST_ARGS)
endif

long: setup
	@tools/packages.sh test
	@$(PY) -I -m pytest -m long $(PYTEST_ARGS)

bench: setup
	@tools/packages.sh bench
	@mkdir -p .cache && { [ ! -e .cache/micro.json ] || mv .cache/micro.json .cache/micro-before.json; }
	@$(PY) -E -s benchmarks/micro.py --quiet $(if $(QUICK),-p 1 -n 1) -o .cache/micro.json
	@[ ! -e .cache/micro-before.json ] || $(PY) -I -m pyperf compare_to --table .cache/micro-before.json .cache/micro.json
	@$(PY) -E -s benchmarks/scaling.py $(QUICK)
	@$(PY) -E -s benchmarks/cores.py $(QUICK)
	@$(PY) -E -s benchmarks/breakdown.py $(QUICK) $(filter --readme --congestion=%,$(BENCH_ARGS))
	@$(PY) -E -s benchmarks/tunnel.py $(BENCH_ARGS)

fuzz: setup
	@tools/packages.sh test
	@WGPY_FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(PY) -I -m pytest tests/fuzz $(PYTEST_ARGS)

fresh:
	@tools/fresh.sh $(RELEASE) $(if $(COMMAND),sh -c "$$COMMAND")

guests: setup
	@tools/packages.sh guests
	@$(PY) -E -s guest/images.py $(ARCH) $(RELEASE)

# Two builds of one commit are the same, bit for bit.
wheel: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
wheel: setup
	@$(PY) -I -m pip -q wheel --no-build-isolation --no-deps -w dist .
	@$(PY) -I -c "from setuptools.build_meta import build_sdist; build_sdist('dist')" >/dev/null
	@ls dist

lock: setup
	@$(PY) -I -m pip install -q "$$($(PY) -I -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["release"])')"
	@$(VENV)/bin/pip-compile -q --upgrade --generate-hashes --strip-extras --no-header --no-emit-index-url \
		--no-emit-find-links --no-emit-options -o requirements.lock pyproject.toml

sbom: setup
	@mkdir -p dist
	@$(PY) -E -s tools/sbom.py >dist/wgpy.cdx.json
	@echo dist/wgpy.cdx.json

lines: setup
	@$(PY) -I tools/lines.py $(PROCESS)

clean:
	rm -rf build dist *.egg-info $(VENV) .pytest_cache .hypothesis
	rm -f wgpy/_fast/*.so wgpy/_fast/*.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
