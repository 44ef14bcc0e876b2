"""Pairs that training never shows together: a fifth of those worn, of things, of colours and of numbers of things.

python examples/scenes/held_out.py        writes examples/emoji_held_out.json

A pair is held out by a hash of its two words, so that new things change nothing for the others.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from scenes.pictures import COLOURS
from scenes.words import things
from scenes.worn import FACES, WEARABLES

FILE = Path(__file__).parents[1] / "emoji_held_out.json"
NUMBERS = ("two", "three", "four", "five")
ALWAYS = {("worn", "cat", "top hat")}  # what people ask for first

Pair = tuple[str, str, str]
"""Its kind ("worn", "things", "colours" or "numbers") and two words: who wears before what, a thing before a colour or
a number, and two things in order of the alphabet."""


def together(one: str, other: str) -> Pair:
    """The pair of two things of a scene; a face and what it could wear are that pair even if it does not wear it."""
    for wearer, worn in ((one, other), (other, one)):
        if wearer in FACES and worn in WEARABLES:
            return "worn", wearer, worn
    return "things", min(one, other), max(one, other)


def chosen() -> frozenset[Pair]:
    """The pairs held out."""
    return frozenset(pair for pair in every() if pair in ALWAYS or _chance(pair) < 0.2)


def read(file: Path = FILE) -> frozenset[Pair]:
    """The pairs that a file lists."""
    listed = json.loads(file.read_text(encoding="utf-8"))
    return frozenset(
        (kind, word, other)
        for kind, of in listed.items()
        for word, others in of.items()
        for other in others.split(", ")
    )


def write(pairs: Iterable[Pair], file: Path = FILE) -> None:
    """Lists pairs: under each kind, the first words with all that is held out of each."""
    listed: dict[str, dict[str, str]] = {}
    for kind, word, other in sorted(pairs):
        of = listed.setdefault(kind, {})
        of[word] = f"{of[word]}, {other}" if word in of else other
    file.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def every() -> Iterator[Pair]:
    """Every pair that scenes may have."""
    words = things()
    yield from (together(one, other) for one, other in combinations(sorted(words), 2))
    yield from (("colours", word, colour) for word, colour in product(words, COLOURS))
    yield from (("numbers", word, number) for word, number in product(words, NUMBERS) if words[word].counted)


def _chance(pair: Pair) -> float:
    """A number from 0 to 1 that is as good as random, and the same on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join(pair).encode()).digest()[:8]) / 2**64


if __name__ == "__main__":
    write(chosen())
