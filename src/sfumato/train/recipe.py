"""A recipe: all that a training is, but for its data, as one short TOML file."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sfumato.arguments import listed
from sfumato.disk import open_file
from sfumato.errors import InputError, NotFoundError, nearest, quoted
from sfumato.foreign.training import refuse_foreign
from sfumato.parts import validate, value_of
from sfumato.train.base_recipe import Recipe
from sfumato.train.table import RecipeTable
from sfumato.train.tasks import TASKS

_MOST_BYTES = 256 * 1024
_MOST_DEPTH = 64
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*+"?|\'[^\'\n]*+\'?')
_DEEP = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_MOST_DEPTH}}}")


def recipe_names() -> list[str]:
    """The names of the recipes that ship."""
    folder = resources("sfumato.recipes")
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, settings: Iterable[str] = ()) -> Recipe:
    """A recipe, checked strictly, with `settings` ("train.batch=64") laid over it.

    `recipe` is the name of one that ships, a TOML file, the tables of one as a dict, or a `Recipe`. What is wrong with
    it is an `InputError`.
    """
    if isinstance(recipe, Recipe):
        data = recipe.dump()
    elif isinstance(recipe, Mapping):
        data = _tables(recipe)
    elif isinstance(recipe, str | Path):
        data = _read(recipe)
    else:
        raise InputError(f"a recipe is a name, a TOML file, tables or a Recipe, not {quoted(recipe)}")
    return lay_over(data, settings)


def lay_over(data: dict[str, Any], settings: Iterable[str]) -> Recipe:
    """The recipe in `data`, with each of `settings` ("table.key=value") put in its place."""
    return check_recipe(_overlay(data, settings))


def check_recipe(data: Mapping[str, Any]) -> Recipe:
    """Data as the recipe of the task that they name; the first thing wrong with them as an `InputError`."""
    name = data.get("task", "denoise")
    if not isinstance(name, str) or name not in TASKS:
        raise InputError(f"there is no task {quoted(name)}; {nearest(str(name)[:100], TASKS)}")
    refuse_foreign(data)
    _refuse_others(name, data)
    recipe = validate(TASKS[name].recipe, data, "")
    assert isinstance(recipe, Recipe)
    recipe.check()
    return recipe


# Tables that are another task's ---------------------------------------------------------------------------------------


def _refuse_others(task: str, data: Mapping[str, Any]) -> None:
    """Raise an `InputError` for a table, or a key of one, that this task does not read and another does."""
    for path in _paths(data):
        if _has(TASKS[task].recipe, path):
            continue
        readers = sorted(name for name, other in TASKS.items() if _has(other.recipe, path))
        if readers:
            place = f"[{path[0]}]" if len(path) == 1 and isinstance(data[path[0]], Mapping) else ".".join(path)
            read = f"the task {readers[0]}" if len(readers) == 1 else f"the tasks {' and '.join(readers)}"
            raise InputError(f"{place} is read by {read}, and this recipe's task is {task}")


def _paths(data: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The tables, and the keys in them."""
    for key, value in data.items():
        yield (str(key),)
        if isinstance(value, Mapping):
            yield from ((str(key), str(inner)) for inner in value)


def _has(model: type[BaseModel], path: tuple[str, ...]) -> bool:
    """Whether a model has a field at `path`; what lies within a part is the part's to say."""
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    inner = field.annotation
    return not (isinstance(inner, type) and issubclass(inner, BaseModel)) or _has(inner, path[1:])


# Reading --------------------------------------------------------------------------------------------------------------


def _tables(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe in Python values as JSON has them; a copy, so that laying over changes nothing of the caller's."""
    try:
        return json.loads(json.dumps(recipe, default=_table))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"a recipe holds numbers, texts, lists and tables alone: {error}") from error


def _table(value: Any) -> dict[str, Any]:
    if isinstance(value, RecipeTable):
        return value.model_dump(mode="json")
    raise TypeError(f"there is a {type(value).__name__} in it")


def _read(recipe: str | Path) -> dict[str, Any]:
    """The TOML of a recipe, by the name of one that ships or by its file."""
    path = Path(recipe)
    try:
        if path.suffix == ".toml" or path.is_file():
            with open_file(path) as file:
                return _parsed(file.read(_MOST_BYTES + 1), path)
        if str(recipe) in recipe_names():
            return _parsed((resources("sfumato.recipes") / f"{recipe}.toml").read_bytes(), path)
    except OSError as error:
        kind = NotFoundError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"cannot read the recipe {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    hint = nearest(str(recipe)[:100], recipe_names())
    raise InputError(f"there is no recipe {quoted(str(recipe))}; {hint}; or give a .toml file")


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    """The table in a TOML file, which is bounded first: the parser takes time and memory by the square of a key's
    depth."""
    if len(data) > _MOST_BYTES:
        raise InputError(f"{path} is larger than {_MOST_BYTES // 1024} kB: no recipe")
    text = data.decode("utf-8-sig")  # some editors mark UTF-8 by its first character
    if _DEEP.search(_STRING.sub("s", text)):
        raise InputError(f"{path} holds a table within more than {_MOST_DEPTH} others: no recipe")
    return tomllib.loads(text)


def _overlay(data: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`data` with each "table.key=value" set."""
    for setting in [settings] if isinstance(settings, str) else listed("settings", settings):
        place, sign, text = setting.partition("=") if isinstance(setting, str) else ("", "", "")
        if not sign or not place.strip():
            raise InputError(f"--set wants key=value, as in train.batch=64, not {quoted(setting)}")
        *tables, key = place.strip().split(".")
        table = data
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InputError(f"{quoted(place)} cannot be set: {quoted(name)} is a value, not a table")
        table[key] = value_of(text.strip())
    return data
