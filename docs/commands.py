"""The page of the command line, made from the commands themselves."""

import re
from pathlib import Path
from typing import Any

import typer

from sfumato.cli import app

FIRST = ("--version", "--install-completion", "--show-completion")
"""Options of the program alone."""
OPTION = re.compile(r"(?<![\w`])(--[a-z][a-z-]*)")
"""An option in the words on another."""


def write(folder: Path) -> None:
    group: Any = typer.main.get_command(app)
    program = group.make_context("sfumato", [], resilient_parsing=True)
    common = [one for one in group.get_params(program) if one.opts[0] not in FIRST]
    alone = [one for one in group.get_params(program) if one.opts[0] in FIRST]
    known = {one.opts[0] for one in common}
    lines = ["## Of all commands", "", *_rows(common, program), "", "Of `sfumato` itself:", "", *_rows(alone, program)]
    for name, command in group.commands.items():
        lines += _command(command, command.make_context(name, [], parent=program, resilient_parsing=True), known)
    (folder / "command-line.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _command(command: Any, context: Any, known: set[str]) -> list[str]:
    """How a command is called, what it is for, what it takes besides what all do."""
    about = OPTION.sub(r"`\1`", " ".join((command.help or "").split()))
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    own = [one for one in command.get_params(context) if one.opts[0] not in known]
    return ["", f"## {context.command_path}", "", "```text", usage, "```", "", about, "", *_rows(own, context)]


def _rows(parameters: list[Any], context: Any) -> list[str]:
    """A table of arguments and options."""
    records = [record for one in parameters if (record := one.get_help_record(context))]
    rows = [[f"`{name}`", OPTION.sub(r"`\1`", about)] for name, about in records]
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
    return ["| | |", "| --- | --- |", *(f"| {line} |" for line in lines)] if lines else []
