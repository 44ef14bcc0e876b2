"""Facts for the terminal."""

import json
import sys
from collections.abc import Iterable, Sequence
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
