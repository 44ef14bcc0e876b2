"""`sfumato recipes`"""

import json
from typing import Annotated

import typer

from sfumato.cli.complete import recipes_that_ship


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this one, to be copied and changed.", metavar="NAME", autocompletion=recipes_that_ship
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object of JSON a line.")] = False,
) -> None:
    """List the recipes that ship, or print the one called NAME.

    To change one: sfumato recipes flow > mine.toml, and sfumato train PICTURES --recipe mine.toml"""
    import tomllib
    from importlib.resources import files as resources

    from sfumato.cli.table import show_table
    from sfumato.errors import InputError, nearest, quoted

    texts = {one: (resources("sfumato.recipes") / f"{one}.toml").read_text("utf-8") for one in recipes_that_ship()}
    if name is not None:
        if name not in texts:
            raise InputError(f"there is no recipe {quoted(name)}; {nearest(name[:100], texts)}")
        print(texts[name], end="")
        return
    rows = []
    for one, text in texts.items():
        table = tomllib.loads(text)
        rows.append({"name": one, "task": table.get("task", "denoise"), "about": table.get("about", "")})
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    show_table(("name", "task", "about"), [list(row.values()) for row in rows])
