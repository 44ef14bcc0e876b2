"""Facts for the terminal."""

from collections.abc import Iterable


def show(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, each on one line, so that a line can be copied whole. They are shown as they are:
    nothing in them is markup, and nothing speaks to the terminal."""
    from sfumato.wording import one_line

    lines = [(one_line(name), one_line(value)) for name, value in facts]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {value}".rstrip())
