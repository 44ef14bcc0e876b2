"""Training from Python: `sfumato.train`, and recipes as Python values."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL, everything

import sfumato
from sfumato.errors import InputError
from sfumato.train.denoise_recipe import DenoiseRecipe, DenoiseTrainRecipe
from sfumato.train.recipe import load_recipe

TABLES: dict[str, Any] = {
    "data": {"size": (8, 8), "channels": 1},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": []},
    "train": {"batch": 8, "steps": 2},
    "settings": {"steps": 2},
}
PLACE = {"device": "cpu", "precision": "float32"}


def test_a_recipe_is_a_name_a_file_tables_or_a_value() -> None:
    named = load_recipe("digits", SMALL)
    assert load_recipe(named) == load_recipe(named.dump()) == named
    assert load_recipe(named, ["train.batch=4"]).train.batch == 4 and named.train.batch == 8
    tables = load_recipe(TABLES)
    assert isinstance(tables, DenoiseRecipe) and tables.data.size == (8, 8) and tables.train.batch == 8
    own = DenoiseRecipe(train=DenoiseTrainRecipe(batch=4))
    assert load_recipe(own).train.batch == load_recipe({"train": own.train}).train.batch == 4


def test_tables_are_left_as_they_were() -> None:
    before = repr(TABLES)
    assert load_recipe(TABLES, ["train.batch=4"]).train.batch == 4 and repr(TABLES) == before


@pytest.mark.parametrize(
    ("tables", "match"),
    [
        ({"train": {"bach": 8}}, r"there is no setting 'train\.bach'; did you mean 'batch'\?"),
        (
            {"train": {"batch": object()}},
            "a recipe holds numbers, texts, lists and tables alone: there is a object in it",
        ),
        ({"task": "classify", "codec": {}}, r"\[codec\] is read by the tasks autoencode and denoise"),
    ],
)
def test_tables_that_are_no_recipe_are_refused(tables: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_recipe(tables)


def test_tables_that_hold_themselves_are_refused() -> None:
    tables: dict[str, Any] = {"network": {}}
    tables["network"]["kind"] = tables
    with pytest.raises(InputError, match="a recipe holds numbers, texts, lists and tables alone"):
        load_recipe(tables)


def test_the_package_is_called_as_the_function_and_its_modules_are_found(data: Path, tmp_path: Path) -> None:
    """By a dict, and by the value that it is read as: the same files."""
    sfumato.train(data, out=tmp_path / "one", recipe=TABLES, **PLACE)
    sfumato.train(data, out=tmp_path / "two", recipe=load_recipe(TABLES), **PLACE)
    assert everything(tmp_path / "one" / "system") == everything(tmp_path / "two" / "system")


@pytest.mark.parametrize("first", ["import sfumato.train.recipe", "sfumato.train", "from sfumato import train"])
def test_it_is_so_whatever_is_imported_first(first: str) -> None:
    code = (
        f"import sfumato\n{first}\nimport sfumato.train.recipe as r\nassert callable(sfumato.train) and r.load_recipe"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
