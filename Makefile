# Every command sets itself up: on a fresh clone, any of them is the first.
.DELETE_ON_ERROR:
.PHONY: help demo demo-train test mutants check docs look format clean

bin := .venv/bin
pip := $(bin)/pip install --quiet --disable-pip-version-check -c constraints.txt

help: ## show the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/ready ## draw what is written, with the system that ships: out/emoji.png, out/a-cat-in-a-top-hat-0.png …
	$(bin)/sfumato generate "a cat in a top hat" -n 4
	$(bin)/python examples/emoji.py
	@echo 'Look at out/emoji.png, and at the four cats: out/a-cat-in-a-top-hat-0.png to -3.png.'

demo-train: .venv/ready ## train a model of handwritten digits and draw with it: out/digits.png, out/denoising.png
	$(bin)/python examples/digits.py

test: .venv/ready-dev ## run the tests
	$(bin)/pytest -n 2 --dist worksteal

mutants: .venv/ready-dev ## how many small faults in the mathematics the tests see: a sample, before a release
	$(pip) 'mutmut==3.8.1' # its results are read as this version writes them
	$(bin)/python tests/mutants.py $(of)

check: .venv/ready-dev ## formatting, lint, types, the layers of the package, the documentation
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/pyright
	$(bin)/pytest -q tests/test_house.py
	$(MAKE) --no-print-directory docs

docs: .venv/ready-dev ## build the documentation into docs/_build/html
	$(bin)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

look: docs ## open every page in a browser, and say what is wrong with it (needs chromium)
	$(pip) playwright # it drives the browser that is there
	$(bin)/python docs/look.py $(of)

format: .venv/ready-dev ## put the code into its form
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

clean: ## remove what was built, and the virtual environment
	rm -rf .venv build dist mutants docs/_build docs/_generated docs/reference/sfumato.* .pytest_cache .ruff_cache .hypothesis

.venv/ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(pip) -e '.[digits]'
	touch $@

.venv/ready-dev: .venv/ready
	$(pip) -e '.[dev]'
	$(pip) --no-deps k-diffusion # one file of it is read by tests, and needs none of the rest
	touch $@
