"""The commands on the pages are there: every one is parsed, and before a release it is run."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import pages
from sfumato.cli import app
from sfumato.train.recipe import load_recipe

GROUP: Any = typer.main.get_command(app)
each_page = pytest.mark.parametrize("page", pages.PAGES, ids=[*pages.NAMES.values()])


def parsed(words: list[str], whole: bool = True) -> dict[str, Any]:
    """The options and arguments of a call, as the command would get them."""
    context = GROUP.make_context("sfumato", words[1:], resilient_parsing=not whole)
    rest = [*context._protected_args, *context.args]
    if not rest and not whole:
        return {}
    name, command, rest = GROUP.resolve_command(context, rest)
    params = command.make_context(name, rest, parent=context, resilient_parsing=not whole).params
    return {"command": name, **params}


@each_page
def test_the_commands_of_a_page_are_those_of_the_program(page: Path) -> None:
    for words in pages.mentioned(page):
        parsed(words, whole=False)
    for words, is_run in pages.commands(page):
        given = parsed(words)
        recipe = given.get("recipe")
        if is_run and given["command"] == "train" and recipe is not None and not recipe.endswith(".toml"):
            load_recipe(recipe, given["settings"] or ())


def test_a_command_that_is_not_there_is_seen() -> None:
    with pytest.raises(Exception, match="No such option: --minuets"):
        parsed(["sfumato", "train", "photos", "--out", "runs/a", "--minuets", "3"])
    (words,) = pages.calls("echo a | sfumato generate --model 'a b' > list.txt")
    assert words == ["sfumato", "generate", "--model", "a b"]


@each_page
def test_an_option_that_a_page_names_is_one_of_some_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    ours = {name for command in GROUP.commands.values() for one in command.params for name in one.opts}
    theirs = {
        path.read_text(encoding="utf-8")
        for name in ("benchmarks", "docs", "tests")
        for path in (pages.ROOT / name).rglob("*.py")
    }
    program = GROUP.make_context("sfumato", [], resilient_parsing=True)
    ours |= {name for one in GROUP.get_params(program) for name in one.opts}
    named = {*re.findall(r"`(--[a-z][\w-]+)", text)} - ours
    assert {name for name in named if not any(f'"{name}"' in source for source in theirs)} - {
        "--index-url",
    } == set()


@each_page
def test_a_block_has_a_language_so_that_none_is_passed_over(page: Path) -> None:
    kinds = {
        "sh",
        "console",
        "python",
        "toml",
        "text",
        "json",
        "{include}",
        "{literalinclude}",
        "{figure}",
        "{toctree}",
        "{eval-rst}",
    }
    assert {block.kind for block in pages.blocks(page)} - kinds == set()


@each_page
def test_a_line_of_shell_is_one_that_a_test_can_run_or_its_block_says_why_not(page: Path) -> None:
    lines = [
        line
        for block in pages.blocks(page)
        if block.why is None
        for line in block.lines()
        if block.kind in ("sh", "console")
    ]
    assert [
        line for line in lines if line.split()[0] not in ("sfumato", "python", "cat", "ls", "mkdir", "cp", "echo")
    ] == []


@each_page
def test_a_line_of_code_is_no_longer_than_a_page_is_wide(page: Path) -> None:
    code = [block for block in pages.blocks(page) if block.kind in ("sh", "python", "toml", "json")]
    assert [line for block in code for line in block.text.splitlines() if len(line) > 120] == []
