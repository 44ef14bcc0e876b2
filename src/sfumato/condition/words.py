"""The words of captions, in which names of several words are one."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from sfumato.condition.normalize import apart, normalize

_MARKS = r",;:!?()\[\]{}\"“”«»/|\\+&…—–<>=~^、，。！？；："  # a dot and a hyphen separate only where no word goes on
_TOKEN = re.compile(rf"(?<!\S)[-.]+(?!\S)|(?:[^\s{_MARKS}.]|\.(?=[^\s{_MARKS}.]))+|[{_MARKS}.]")
_MARK = re.compile(rf"[-.{_MARKS}]+")
_QUOTE = re.compile(r"(?<!\w)'|'(?!\w)|(?<!\S)\d{1,2}[.)](?=\s)")  # and the number of an item of a list
_COLOURED = re.compile(r"-(?=colou?red\b)")


@dataclass(frozen=True)
class Known:
    """What is kept whole: names and styles, by the stems of their words, and the lengths of those that begin alike."""

    names: frozenset[str]
    whole: frozenset[tuple[str, ...]]
    lengths: dict[str, tuple[int, ...]]
    styles: dict[str, str]

    @staticmethod
    @lru_cache(maxsize=16)
    def of(names: tuple[str, ...], styles: tuple[str, ...]) -> "Known":
        spelled = {plain_text(style): style for style in styles}
        spelled |= {text.removesuffix(" style"): style for text, style in spelled.items()}
        every = frozenset(plain_text(name) for name in names)
        whole = frozenset(tuple(_stem(word) for word in _TOKEN.findall(name)) for name in (*every, *spelled))
        lengths: dict[str, set[int]] = {}
        for stems in filter(None, whole):
            lengths.setdefault(stems[0], set()).add(len(stems))
        beginning = {first: tuple(sorted(own, reverse=True)) for first, own in lengths.items()}
        return Known(every, whole, beginning, spelled)

    def words(self, text: str) -> list[str]:
        """The words and marks of a text, in which each name and style is one word; the longest where several begin."""
        text = plain_text(text)
        found = list(_TOKEN.finditer(text))
        stems, words, place = [_stem(token[0]) for token in found], [], 0
        while place < len(found):
            lengths = [n for n in self.lengths.get(stems[place], ()) if n <= len(found) - place]
            reach = next((n for n in lengths if tuple(stems[place : place + n]) in self.whole), 1)
            words.append(text[found[place].start() : found[place + reach - 1].end()])
            place += reach
        return words


def plain_text(text: str) -> str:
    """A text in small letters with single spaces, emoji by their names, and one kind of apostrophe."""
    text = unicodedata.normalize("NFC", normalize(apart(text))).replace("’", "'").lower()
    return " ".join(_COLOURED.sub(" ", _QUOTE.sub('"', text)).split())


def _stem(word: str) -> str:
    """A word in the singular, nearly: "cats with tears of joy" is the name "cat with tears of joy"."""
    return word.removesuffix("s") if len(word) > 3 else word


def is_mark(word: str) -> bool:
    """Whether a word is a mark."""
    return not word[:1].isalnum() and _MARK.fullmatch(word) is not None
