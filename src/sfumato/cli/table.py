"""Facts for the terminal."""

import json
from collections.abc import Iterable
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
