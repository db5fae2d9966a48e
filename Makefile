# The commands of this project. `make` alone lists them.
# Needs Python 3.11 or newer; PYTHON=python3.13 chooses another one.
PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
SERVE ?=
FUZZ_SECONDS ?= 60
HOSTILE_SECONDS ?= 180
BENCH ?=
KUBERNETES ?=
# How many tests run at once (0: one, in the process itself): more than two processors, because tests wait for programs.
WORKERS ?= 4
CLUSTER_WORKERS ?= 4
PYTEST ?=
# How images are built: with what, under which name, and with which more options.
BUILDER ?= $(or $(shell command -v docker),$(shell command -v podman))
IMAGE ?= registry.pillion.dev/pillion
BUILD ?=
TAG := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' webhook/__init__.py)
LABELS = --build-arg VERSION=$(TAG) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null)
NAMES = $(IMAGE):$(TAG) $(IMAGE):$(TAG)-tail $(IMAGE):$(TAG)-shipping
IMAGES := dist/pillion-images.tar
# Where releases are downloaded from, for the plugin's manifest, and where it is written.
HOMEPAGE ?=
DIST ?= dist
push = $(notdir $(firstword $(BUILDER))) push
# All tests together must reach the share of the code that pyproject.toml asks for; chosen ones need not.
COVERAGE = $(if $(PYTEST),,--cov --cov-report=)
# pip trusts what the system trusts, a proxy's own CA included; uv does so only if it is told.
export UV_SYSTEM_CERTS ?= true
# The tests start Python a thousand times: what it compiles is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
# tail/ is built by cargo, into a directory beside the other programs that tests build.
CARGO ?= $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo))
CARGO_TARGET_DIR ?= $(or $(PILLION_TEST_CACHE),$(HOME)/.cache/pillion-tests)/tail-checks
without_cargo = echo "make: left out: $(1); there is no cargo (on Debian or Ubuntu: apt-get install cargo)"

.DEFAULT_GOAL := help
.PHONY: help image serve playground screenshots docs test check check-lowest deny format golden fuzz hostility properties bench bench-growth bench-scale bench-core bench-tail bench-shipping test-cluster test-kubelet test-shipping drills plugin notes release clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# The lock decides every version; uv reads it, and comes from PyPI as everything else does.
$(VENV)/.installed: pyproject.toml uv.lock
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON); install Python 3.11 or newer, or say make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d; Pillion needs 3.11 or newer: make PYTHON=python3.13 %s" % (v[0], v[1], "$(MAKECMDGOALS)"))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) lacks venv; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv sync --quiet --frozen --active --inexact
	@touch $@

image: ## build all images with docker or podman into an archive, and print the next commands (IMAGE=REPOSITORY for another name)
	@test -n "$(BUILDER)" || { echo "make: there is no docker and no podman; install one of them" >&2; exit 1; }
	$(BUILDER) build $(BUILD) $(LABELS) -t $(word 1,$(NAMES)) .
	$(BUILDER) build $(BUILD) $(LABELS) -t $(word 2,$(NAMES)) --target tail .
	$(BUILDER) build $(BUILD) $(LABELS) -t $(word 3,$(NAMES)) --target shipping .
	@mkdir -p $(dir $(IMAGES)) && rm -f $(IMAGES)
	$(BUILDER) save $(if $(findstring podman,$(BUILDER)),--multi-image-archive )-o $(IMAGES) $(NAMES)
	@printf '%s\n' "" "These images are built: $(NAMES). Give them to the nodes:" "" \
	  "  kind load image-archive $(IMAGES)" \
	  "  minikube image load $(IMAGES)" \
	  "  k3d image import $(IMAGES)" \
	  "  $(push) $(word 1,$(NAMES)) && $(push) $(word 2,$(NAMES)) && $(push) $(word 3,$(NAMES))" "" \
	  "Then install the chart:" "" \
	  "  helm install pillion charts/pillion -n pillion-system --create-namespace --wait --set image.repository=$(IMAGE)" ""

serve: $(VENV)/.installed ## run the webhook on this machine with a certificate of a local CA, and print how to try it
	@$(BIN)/pillion serve $(SERVE)

playground: $(VENV)/.installed ## serve the playground on this machine, and print its address
	@$(BIN)/pillion playground

screenshots: $(VENV)/.installed ## draw the pictures of the playground in docs/images; needs chromium
	PILLION_SCREENSHOTS=1 PILLION_TEST_ALL=1 $(BIN)/python -m pytest tests/playground/test_page.py -k pictures

docs: $(VENV)/.installed ## build the pages as a site into build/site; a warning, or a link that leads nowhere, is an error
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --nitpicky -c docs . build/site
	@echo "The site is in build/site: open build/site/index.html. Addresses elsewhere, which nobody checked: build/external-links.txt"

test: $(VENV)/.installed ## run the tests that need no Kubernetes
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(COVERAGE) $(PYTEST)
ifneq ($(CARGO),)
	cd tail && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR) $(CARGO) test --locked --quiet --features shipping
else
	@$(call without_cargo,the tests of tail/ and those that run it)
endif

check: $(VENV)/.installed ## style, types, import contracts, workflows, lock file and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck webhook/profiles/*.sh examples/*.sh .ci/run .krew/kubectl-pillion tail/notices/collect.sh
	$(BIN)/zizmor --offline --quiet .github
	VIRTUAL_ENV=$(VENV) $(BIN)/uv lock --check --quiet
	$(BIN)/python -m tests.goldens
ifneq ($(CARGO),)
	cd tail && $(CARGO) fmt --check
	cd tail && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR) $(CARGO) clippy --locked --quiet --all-targets -- -D warnings
	cd tail && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR) $(CARGO) clippy --locked --quiet --all-targets --features shipping -- -D warnings
else
	@$(call without_cargo,style and lints of tail/)
endif

check-lowest: $(VENV)/.installed ## the tests that use dependencies most, with the oldest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	VIRTUAL_ENV=$(LOWEST) $(BIN)/uv pip install --quiet --resolution lowest-direct --editable . --group dev
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) -p no:cacheprovider tests/injection/test_review.py tests/injection/test_admission.py \
	  $(addprefix tests/service/test_,app.py http.py limits.py tls.py)

deny: ## check licences, versions and sources of the dependencies of tail/; needs cargo-deny (cargo install cargo-deny --locked)
	@test -n "$(CARGO)" || { $(call without_cargo,everything); exit 1; } >&2
	cd tail && $(CARGO) deny --locked check bans licenses sources

format: $(VENV)/.installed ## format every file
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(if $(CARGO),cd tail && $(CARGO) fmt)

golden: $(VENV)/.installed ## regenerate the golden files; review them with git diff
	$(BIN)/python -m tests.goldens --update

fuzz: $(VENV)/.installed ## mutated reviews, configurations and raw bytes for FUZZ_SECONDS (60), a third each on the core, the configuration and the server
	VIRTUAL_ENV=$(VENV) $(BIN)/uv sync --quiet --frozen --active --inexact --group fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

hostility: $(VENV)/.installed ## attacks on a server's memory for HOSTILE_SECONDS (180), and what remains in use
	$(BIN)/python -m tests.fuzz.hostility $(HOSTILE_SECONDS)

properties: $(VENV)/.installed ## 100,000 generated pods
	PILLION_EXAMPLES=12500 $(BIN)/python -m pytest tests/injection/test_properties.py

bench: $(VENV)/.installed ## the cost of serving, compared with a published injector and a lean webhook in Go; six minutes, needs Go
	@$(BIN)/python -m tests.bench.serving $(BENCH)

bench-growth: $(VENV)/.installed ## draw how the cost grows with the pod into docs/images/growth.svg
	@$(BIN)/python -m tests.bench.growth docs/images/growth.svg

bench-scale: $(VENV)/.installed ## create thousands of pods through a real API server on simulated nodes
	@$(BIN)/python -m tests.bench.scale $(BENCH)

bench-core: $(VENV)/.installed ## the time of a review without the network, compared with decoding its body
	$(BIN)/python -m tests.bench.core

bench-tail: $(VENV)/.installed ## what log readers lose and cost; 25 minutes, BENCH="--only rename" for less; needs busybox
	@$(BIN)/python -m tests.bench.tail $(BENCH)

bench-shipping: $(VENV)/.installed ## what shippers lose, repeat and reorder on the way to a store, and what they cost; ten minutes, needs Go and cargo
	@$(BIN)/python -m tests.bench.shipping $(BENCH)

test-cluster: $(VENV)/.installed ## run the tests that need a real Kubernetes, which they start (KUBERNETES=oldest or newest: its API server alone)
	$(BIN)/python -m pytest tests/cluster -n $(CLUSTER_WORKERS) --dist loadgroup $(if $(KUBERNETES),--kubernetes $(KUBERNETES)) $(PYTEST)

test-kubelet: $(VENV)/.installed ## run all goldens and 500 generated pods on a real kubelet, without and with the sidecar; ten minutes (KUBERNETES=oldest or newest)
	PILLION_KUBELET_ALL=1 $(BIN)/python -m pytest tests/cluster/test_kubelet.py $(if $(KUBERNETES),--kubelet $(KUBERNETES)) $(PYTEST)

test-shipping: $(VENV)/.installed ## send 1,000,000 numbered lines from pods to real stores by filebeat and the collector; fifteen minutes
	PILLION_SHIPPING_ALL=1 $(BIN)/python -m pytest tests/cluster/test_filebeat_and_otel.py $(PYTEST)

drills: $(VENV)/.installed ## an operator's first month on a real node, under load, with Prometheus; half an hour, needs apt-get install prometheus
	@$(BIN)/python -m tests.cluster.drills

plugin: ## pack kubectl's plugin for krew, and write its manifest (HOMEPAGE=https://github.com/OWNER/pillion)
	@test -n "$(HOMEPAGE)" || { echo "make: whose releases? make plugin HOMEPAGE=https://github.com/OWNER/pillion" >&2; exit 1; }
	@mkdir -p $(DIST)
	tar -czf $(DIST)/kubectl-pillion.tar.gz -C .krew kubectl-pillion -C .. LICENSE
	sed -e '/^#/d' -e 's|$$HOMEPAGE|$(HOMEPAGE)|' -e "s/\$$SHA256/$$(sha256sum < $(DIST)/kubectl-pillion.tar.gz | cut -d ' ' -f 1)/" \
	  .krew/pillion.yaml > $(DIST)/pillion.yaml

notes: ## print what the changelog says of VERSION=x.y.z, or of VERSION=Unreleased
	@awk '/^## / { on = $$2 == ENVIRON["VERSION"]; next } on { print } on && /^- / { found = 1 } \
	  END { if (!found) { print "make: CHANGELOG.md has nothing under " ENVIRON["VERSION"] > "/dev/stderr"; exit 1 } }' CHANGELOG.md

release: $(VENV)/.installed ## set VERSION=x.y.z everywhere, date the changelog, commit and tag; nothing is pushed
	@printf '%s' "$$VERSION" | grep -Eqx '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}' || { echo "make: which version? Three numbers: make release VERSION=1.2.3" >&2; exit 1; }
	@printf '%s\n' "$(TAG)" "$$VERSION" | sort -CV || { echo "make: $$VERSION is older than $(TAG), which is here already" >&2; exit 1; }
	@! git rev-parse --quiet --verify "refs/tags/v$$VERSION" >/dev/null || { echo "make: the tag v$$VERSION exists; choose another version, or remove it: git tag -d v$$VERSION" >&2; exit 1; }
	@test -z "$$(git status --porcelain)" || { echo "make: there are changes; commit them first (git status)" >&2; exit 1; }
	@$(MAKE) --silent notes VERSION=Unreleased >/dev/null
	VIRTUAL_ENV=$(VENV) $(BIN)/uv sync --quiet --frozen --active --inexact --group release
	$(BIN)/bump-my-version bump --new-version $(VERSION)
	awk -v heading="## $(VERSION) - $$(date +%F)" '{ print } /^## Unreleased$$/ { print "\n" heading }' CHANGELOG.md > CHANGELOG.md.new
	mv CHANGELOG.md.new CHANGELOG.md
	$(MAKE) check
	$(BIN)/python -m pytest -n 0 tests/test_release.py
	git commit --quiet --all --message "Release $(VERSION)"
	git tag --annotate v$(VERSION) --message "Pillion $(VERSION)"
	@echo "Pillion $(VERSION) is committed and tagged. To publish it: git push --atomic origin HEAD v$(VERSION)"

clean: ## remove everything that was built here
	rm -rf $(VENV) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
