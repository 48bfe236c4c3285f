# make demo, make test, make serve PACKAGE=DIR; make help lists all.
PYTHON ?= python3
# An index of torch's wheels without CUDA, where there is no card; empty: the usual index.
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready
SERVE := .venv-serve
APT := sh deploy/apt_install.sh
INSTALL := python deploy/install.py
# Environments come without bytecode: what is never imported needs none. Where it may not be kept,
# as in many images, each start would compile all anew and take three times as long.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint docs serve studio serve-only bento audit pacs browser library clean

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

demo: $(READY)  ## train on real images, serve the model, segment an image over HTTP
	@$(BIN)/python -m training.demo

test: lint  ## lint, types, imports and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-long: $(READY)  ## the tests that are left out of make test for their length, and other random examples
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "long or hypothesis" --hypothesis-profile others

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## build the documents and the reference into build/site; warnings are errors
	$(BIN)/mkdocs build

serve: $(READY)  ## serve a model package: make serve PACKAGE=runs/demo/package
	@test -n "$(PACKAGE)" || { echo "name a package: make serve PACKAGE=runs/demo/package"; exit 2; }
	SEG_PACKAGE="$(PACKAGE)" $(BIN)/seg serve

studio: $(READY)  ## draw, train and count in the browser on a folder: make studio FOLDER=cells
	@$(BIN)/seg studio "$(or $(FOLDER),studio)"

serve-only: $(SERVE)/.ready  ## the same without torch, from an environment of its own: make serve-only PACKAGE=DIR
	@test -n "$(PACKAGE)" || { echo "name a package: make serve-only PACKAGE=DIR"; exit 2; }
	SEG_PACKAGE="$(PACKAGE)" $(SERVE)/bin/seg serve

bento: $(READY)  ## build a bento that carries a model package: make bento PACKAGE=DIR
	@test -n "$(PACKAGE)" || { echo "name a package: make bento PACKAGE=runs/demo/package"; exit 2; }
	$(BIN)/python -m service.build "$(PACKAGE)"

audit: $(READY)  ## known vulnerabilities of the pinned packages, and a bill of materials in build/
	@$(BIN)/python deploy/audit.py

pacs:  ## install Orthanc, the PACS that is tested against, and judges of DICOM (Debian, as root)
	@$(APT) orthanc orthanc-dicomweb dcmtk dicom3tools

browser:  ## install Chromium and Firefox, with which the web page is tested (Debian, as root)
	@$(APT) chromium firefox-esr

library: $(READY)  ## take another NiiVue or fflate from npm: make library NAME=niivue VERSION=0.69.0
	@test -n "$(NAME)$(VERSION)" || { echo "make library NAME=niivue VERSION=0.69.0"; exit 2; }
	$(BIN)/python -m service.page.refresh_library "$(NAME)" "$(VERSION)"

clean:  ## remove the environments
	rm -rf .venv $(SERVE)

# What serving needs stands in bentofile.yaml, with the onnxruntime that has no CUDA in it.
$(SERVE)/.ready: bentofile.yaml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 2; }
	@echo "installing into $(SERVE), once; a minute or two"
	@$(PYTHON) -m venv $(SERVE)
	@sed -n 's/^    - "\(.*\)"$$/\1/p' bentofile.yaml > $(SERVE)/requirements.txt
	@$(SERVE)/bin/$(INSTALL) --constraint constraints.txt --requirement $(SERVE)/requirements.txt
	@$(SERVE)/bin/$(INSTALL) --no-deps --editable .
	@find $(SERVE) -type d -name tests -prune -exec rm -rf {} +  # as in the image: libraries' own
	@$(SERVE)/bin/python service/hosting/stripped.py $(SERVE)
	@touch $@
	@du -sm $(SERVE) | sed 's/\t.*/ MB in $(SERVE)/'

# The mark is set last, so an installation that was cut off is taken up again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=..."; exit 2; }
	@echo "installing into .venv, once; some minutes and $(if $(TORCH_INDEX),3,8) GB"
	@$(PYTHON) -m venv .venv
	@test -z "$(TORCH_INDEX)" || $(BIN)/$(INSTALL) --index-url "$(TORCH_INDEX)" \
	  $$(grep -E '^torch(vision)?==' constraints.txt)
	@$(BIN)/$(INSTALL) --constraint constraints.txt --editable '.[train,serve,dev]'
	@touch $@
	@du -sm .venv | sed 's/\t.*/ MB in .venv/'
