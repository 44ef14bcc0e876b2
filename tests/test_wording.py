"""Names and texts as messages show them, and what counts as text."""

import pytest

from sfumato.wording import brief, few, folded, well_formed


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a cat", "a cat"),
        ("café 😀", "café 😀"),
        ("half \ud83d", "half �"),
        ("\ude00 half", "� half"),
        ("two halves \ud83d\ude00", "two halves 😀"),
        ("caf\udce9", "caf�"),
        ("\ud83d\ud83d\ude00", "�😀"),
    ],
)
def test_halves_of_pairs_are_joined_or_replaced(text: str, mended: str) -> None:
    assert well_formed(text) == mended
    assert well_formed(mended) == mended
    mended.encode()


def test_names_that_differ_in_case_or_composition_fold_to_one() -> None:
    assert len({folded(name) for name in ("Café", "café", "cafe\u0301", "CAFE\u0301")}) == 1
    assert folded("cafe") != folded("café")


def test_what_is_quoted_is_short_and_on_one_line() -> None:
    for text in ("x" * 5000, "\udce9" * 5000, "a\nb" * 5000, "é" * 101):
        assert len(brief(text)) <= 101 and "…" in brief(text) and brief(text).isprintable()
    assert brief("cat.png") == "cat.png" and brief("a\nb") == r"'a\nb'"
    assert len(few(["x" * 5000] * 3)) < 320
