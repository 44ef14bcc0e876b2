"""Facts for the terminal."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def show(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, each on one line, so that a line can be copied whole. They are shown as they are:
    nothing in them is markup, and nothing speaks to the terminal."""
    from sfumato.wording import one_line

    lines = [(one_line(name), one_line(value)) for name, value in facts]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {value}".rstrip())


def show_json(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and what they are as one JSON object. A number that JSON has not, such as an infinity, is a text."""
    text = json.dumps(dict(facts), default=str)
    print(json.dumps(json.loads(text, parse_constant=str), indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: in a terminal one that fits it, in a pipe plain columns, a line a row."""
    from sfumato.wording import one_line

    cells = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _show_in_terminal(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (columns, *cells):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def show_groups(groups: Mapping[str, Iterable[tuple[str, str]]], wrong: Sequence[tuple[str, str]]) -> None:
    """Print facts in a terminal under the names of their groups, and below what is wrong, each with what to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sfumato.wording import one_line

    console = Console(highlight=False)
    groups = {name: [(one_line(fact), one_line(value)) for fact, value in facts] for name, facts in groups.items()}
    width = max(len(fact) for facts in groups.values() for fact, _ in facts)
    for name, facts in groups.items():
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=width, no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        for fact, value in facts:
            table.add_row(Text(fact), Text(value))
        console.print(Text(name, "bold"))
        console.print(table)
        console.print()
    console.print(Text("wrong", "bold") if wrong else Text("Nothing is wrong.", "green"))
    for what, do in wrong:
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        table.add_row(Text("!", "bold yellow"), Text(one_line(what), "yellow"))
        table.add_row("", Text(one_line(do)))
        console.print(table)


def _show_in_terminal(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)
