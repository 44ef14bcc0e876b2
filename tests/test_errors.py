"""How errors show what came."""

import pytest

from sfumato.errors import quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("cat", "'cat'"),
        (3.5, "3.5"),
        ("a\nb\x1b", r"'a\nb\x1b'"),
        ("x" * 10**6, "'" + "x" * 96 + "..."),
        ([0] * 10**5, "[" + "0, " * 32 + "..."),
        (10**5000, "a value of type int"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, int) else "int",
)
def test_a_value_is_quoted_in_a_hundred_characters(value: object, text: str) -> None:
    assert quoted(value) == text and len(text) <= 100
