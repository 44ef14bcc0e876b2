"""A table of facts for the terminal."""

from collections.abc import Iterable


def show(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, as they are: nothing in them is markup, and nothing speaks to the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sfumato.wording import one_line

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts:
        table.add_row(Text(one_line(name), style="bold"), Text(one_line(value), overflow="fold"))
    Console(soft_wrap=True).print(table)
