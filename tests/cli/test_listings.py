"""What there is to draw with and to train by, listed and completed by the tab key."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from program import SMALL, Sfumato

import sfumato as package
from sfumato.cli import complete
from sfumato.parts import SAMPLERS, SPACINGS
from sfumato.train.recipe import load_recipe, recipe_names

PLACE = ("--device", "cpu", "--precision", "float32")


# Models ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hub that is empty."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_models_lists_what_ships_and_runs_by_the_names_that_draw(sfumato: Sfumato, run: Path) -> None:
    Path("runs").mkdir()
    shutil.copytree(run, "runs/mine")
    heading, *lines = sfumato("models").out.splitlines()
    assert heading.split() == ["name", "family", "parameters", "megabytes", "reads", "draws"]
    assert [line.split()[0] for line in lines] == ["emoji", "emoji-single", "runs/mine"]
    emoji, single, mine = (json.loads(line) for line in sfumato("models", "--json").out.splitlines())
    assert (emoji["family"], emoji["reads"], emoji["draws"]) == ("cascade of 2", "captions", "128×128")
    assert (single["family"], single["draws"]) == ("latent text to image", "128×128")
    assert (mine["family"], mine["reads"], mine["draws"]) == ("class to image", "3 classes", "8×8")
    assert mine["megabytes"] == pytest.approx(4 * mine["parameters"], rel=0.1)


def test_a_model_that_is_broken_is_a_line(sfumato: Sfumato, tmp_path: Path) -> None:
    for name, file, text in (("a", "system.json", "{"), ("b", "run.json", "{}"), ("c", "model_index.json", "[]")):
        (tmp_path / "there" / name).mkdir(parents=True)
        (tmp_path / "there" / name / file).write_text(text)
    result = sfumato("models", "--folder", "there", "--json")
    found = {one["name"]: one["error"] for one in map(json.loads, result.out.splitlines())}
    assert result.code == 0 and "not valid JSON" in found["there/a"] and "no system yet" in found["there/b"]
    assert found["there/c"] and not found["emoji"]


def test_what_the_hub_left_is_listed(sfumato: Sfumato, no_hub: Path) -> None:
    for name in ("models--a--b", "datasets--c--d", "models--e--f"):
        (no_hub / name / "snapshots" / "1").mkdir(parents=True)
    (no_hub / "models--a--b" / "snapshots" / "1" / "model_index.json").write_text("{}")
    assert complete.hub_names() == ["a/b"]
    assert "a/b" in sfumato("models").out


# Recipes --------------------------------------------------------------------------------------------------------------


def test_recipes_has_a_line_each(sfumato: Sfumato) -> None:
    lines = sfumato("recipes").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == recipe_names()
    assert all(len(line.split()) > 4 for line in lines), "name, task, and what it is for"
    assert [json.loads(line)["name"] for line in sfumato("recipes", "--json").out.splitlines()] == recipe_names()


def test_a_recipe_that_is_printed_is_one_to_train_by(sfumato: Sfumato, tmp_path: Path) -> None:
    text = sfumato("recipes", "flow").out
    (tmp_path / "mine.toml").write_text(text)
    assert tomllib.loads(text) and load_recipe(tmp_path / "mine.toml") == load_recipe("flow")
    wrong = sfumato("recipes", "flaw")
    assert wrong.code == 2 and "did you mean 'flow'" in wrong.err


# The version, and the tab key -----------------------------------------------------------------------------------------


def test_the_package_has_its_version(sfumato: Sfumato) -> None:
    assert sfumato("--version").out == f"sfumato {package.__version__}\n"


def test_the_names_that_are_completed_are_those_of_the_parts() -> None:
    assert sorted(SAMPLERS.kinds) == complete.sampler_names() and sorted(SPACINGS.kinds) == complete.spacing_names()
    assert complete.recipes_that_ship() == recipe_names() and complete.model_names("em") == ["emoji", "emoji-single"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_the_tab_key_completes_values_without_torch(tmp_path: Path) -> None:
    """One process for all: it takes the words of each as the shell gives them."""
    code = """
import os, sys
from sfumato.cli import main
sys.argv = ["sfumato"]
os.environ["_SFUMATO_COMPLETE"] = "complete_bash"
for words in ["generate --sampler dpm++2", "generate -m em", "train --recipe fl", "generate --spacing k", "recipes nc"]:
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "sfumato " + words, str(len(words.split()))
    try:
        main()
    except SystemExit:
        pass
print(*({"torch", "numpy", "rich"} & {*sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["dpm++2s", "emoji", "emoji-single", "flow", "karras", "ncsn"], done.stderr


# How a command speaks -------------------------------------------------------------------------------------------------


def test_a_training_is_followed_by_a_program(sfumato: Sfumato, data: Path) -> None:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    words = ("train", data, "--recipe", "digits", "--out", "run", "--steps", 2, *settings, *PLACE)
    lines = [json.loads(line) for line in sfumato(*words, "--log-json").err.splitlines()]
    events = {line["event"]: line for line in lines if "batch" in line or line.get("event", "plan") != "plan"}
    assert {"plan", "step", "saved", "preview", "done"} <= {*events}
    assert events["plan"]["batch"] == 8 and events["step"]["step"] == 2 and events["step"]["left_seconds"] >= 0
    assert Path(events["preview"]["path"]).exists() and events["done"]["step"] == 2


def test_quiet_stands_before_a_command_or_after_it(sfumato: Sfumato, run: Path) -> None:
    words = ("generate", "cat", "-m", run, *PLACE)
    for quiet in (("--quiet", *words), (*words, "-q")):
        assert sfumato(*quiet) == (0, "out/cat-0.png\n", "")
    assert sfumato(*words).err


@pytest.mark.parametrize("before", [True, False])
def test_an_error_is_json_where_that_is_asked_for(before: bool, sfumato: Sfumato) -> None:
    for option in ("--json-errors", "--log-json"):
        for words, code in ((("inspect", "none"), 4), (("paint",), 2), (("train", "--steps", "x"), 2)):
            result = sfumato(*([option, *words] if before else [*words, option]))
            found = json.loads(result.err)
            assert result.code == found["code"] == code and {*found} == {"error", "message", "code"}
