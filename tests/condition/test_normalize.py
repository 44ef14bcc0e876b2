"""What a text encoder sees of a prompt."""

import pytest

from sfumato.condition.normalize import normalize
from sfumato.errors import InputError


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (None, ""),
        ("", ""),
        ("a cat in a hat", "a cat in a hat"),
        ("  two\tspaces \n and lines  ", "two spaces and lines"),
        ("🐱", "cat face"),
        ("a 🐱🐶!", "a cat face dog face !"),
        ("a🐱b", "a cat face b"),
        ("I ♥️ it", "I black heart suit it"),
        ("👩🏽‍🚀", "woman emoji modifier fitzpatrick type-4 rocket"),
        ("❤️‍🔥", "heavy black heart fire"),
        ("🇯🇵", "regional indicator symbol letter j regional indicator symbol letter p"),
        ("1️⃣", "1 combining enclosing keycap"),
        ("Sfumato™️ © 3 → 4 #1", "Sfumato™ © 3 → 4 #1"),
        ("кошка в шляпе", "кошка в шляпе"),
        ("帽子をかぶった猫🐈", "帽子をかぶった猫 cat"),
        ("قطة می‌خواهم", "قطة می‌خواهم"),
        ("क्‍ष", "क्‍ष"),
        ("\ud83d\udc31 \ud83d", "cat face �"),
    ],
)
def test_emoji_are_read_by_their_names(prompt: str | None, text: str) -> None:
    assert normalize(prompt) == text


def test_reading_again_changes_nothing() -> None:
    once = normalize("a 👩🏽‍🚀 on the 🌕,  waving 👋🏿")
    assert once == normalize(once) == once.encode("ascii").decode()


def test_an_emoji_that_has_no_name_yet_stays() -> None:
    assert normalize("a \U0001faff b") == "a \U0001faff b"


@pytest.mark.parametrize("prompt", [3, True, 2.5, b"cat", ["cat"]])
def test_what_is_no_text_is_refused(prompt: object) -> None:
    with pytest.raises(InputError, match="takes prompts in words, not"):
        normalize(prompt)  # pyright: ignore[reportArgumentType]


def test_long_prompts_are_read_whole() -> None:
    assert len(normalize("🐱" * 10_000).split()) == 20_000
