# Two commands matter: `make demo` and `make test`. Each sets up everything it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup system outside demo test check web bench gpu-check clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "ani3d needs Python 3.11 or newer, this is %d.%d" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# What the tests need beyond Python: of the window, the web player, the engines' C#, C++ and shaders.
# Installed where we are root on a Debian-like system; else the tests say what to install.
SYSTEM_PACKAGES := xvfb xdotool libegl1 libgl1 libgl1-mesa-dri libglu1-mesa libfontconfig1 libfreetype6 fonts-dejavu-core \
	chromium mono-mcs mono-runtime glslang-tools spirv-cross g++
SYSTEM_PROGRAMS := Xvfb chromium mcs mono glslangValidator spirv-cross g++
system:
	@for program in $(SYSTEM_PROGRAMS); do command -v $$program >/dev/null 2>&1 || missing=1; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; \
	fi

# Programs nobody here wrote that the export tests ask (npm, pinned by their lock files). Without npm those tests skip.
# `npm install`, not `ci`: the lock names only the platforms' builds of vite's parts that its registry had, and `ci` wants all.
OUTSIDE := tests/outside/formats
outside: $(OUTSIDE:%=%/node_modules/.package-lock.json)
%/node_modules/.package-lock.json: %/package-lock.json
	@if command -v npm >/dev/null 2>&1; then npm install --no-save --prefix $* --ignore-scripts --no-audit --no-fund --silent && touch $@; fi

demo: setup
	$(BIN)/ani3d demo --headless -o demo

test: setup system outside
	$(BIN)/python -m pytest

check: setup system outside
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest

# The committed three.js module of the web export, after a change in export_formats/web.
web: outside
	$(OUTSIDE)/node_modules/.bin/vite build --config export_formats/web/spark/vite.config.mjs

bench: setup
	$(BIN)/ani3d bench raster --gate
	$(BIN)/ani3d bench field --gate
	$(BIN)/ani3d bench step --gate
	$(BIN)/ani3d bench play

# Parity and times of the gsplat rasteriser, where there is an NVIDIA card and gsplat (in the `dev` and `gpu` extras).
gpu-check: setup
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; \
	then $(BIN)/python -m pytest -q tests/test_rasterisers.py -k gsplat && $(BIN)/ani3d bench gpu && $(BIN)/ani3d bench wan; \
	else echo "gpu-check: skipped, torch sees no NVIDIA GPU (a CUDA build of torch is needed)"; fi

clean:
	rm -rf demo demo.bake .pytest_cache
