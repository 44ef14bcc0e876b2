"""Captions taken apart: the phrase of each thing that they name."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sfumato.condition.colors import HSV, split_color
from sfumato.condition.normalize import normalize

THINGS = 5
"""How many things of a caption are read, if nobody says."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MARKS = r",;:!?()\[\]{}\"“”«»/|\\+&…—–<>=~^、，。！？；："  # a dot and a hyphen separate only where no word goes on
_TOKEN = re.compile(rf"(?<!\S)[-.]+(?!\S)|(?:[^\s{_MARKS}.]|\.(?=[^\s{_MARKS}.]))+|[{_MARKS}.]")
_MARK = re.compile(rf"[-.{_MARKS}]+")

_CONNECTIVES = _words(
    "and with in wearing on above below under over beside behind near next to at by inside into onto underneath beneath"
    " atop against between around along across from or holding carrying riding eating has have having is are was"
    " wears holds sits stands lies rides carries"
)
_BEFORE_OF = _words(
    "left right front top bottom middle center centre side corner back inside outside picture image photo photograph"
    " drawing painting illustration emoji icon sticker sketch portrait"
)
_ARTICLES = _words("a an the some this that these those my your his her its their our very")
_SIZES = _words("small little tiny mini miniature large big huge giant enormous")
_PLACES = _words("left right top bottom middle center centre side corner upper lower edge front each other another")
_VERBS = _words(
    "hand there here it them please draw paint show make generate create me sitting standing lying placed facing"
)
_BEFORE = _ARTICLES | _VERBS
_COUNTED = _ARTICLES | _SIZES | {"of"}
_AFTER = _PLACES | _words("sitting standing lying placed facing that which who emoji icon")
_FILLERS = _BEFORE | _COUNTED | _AFTER
_COLOURS = _words("cyan magenta beige navy") | HSV.keys()
_SHADES = _words("light dark pale bright deep soft plain pastel solid")
_GROUNDS = _words("background backdrop gradient")
_ONE_PAIR = _words("glasses sunglasses goggles scissors jeans shorts pants trousers shoes boots socks gloves sandals")
_NUMBERS = {"single": 1, "both": 2, "couple": 2, "pair": 2, "few": 3, "several": 3, "many": 5, "dozen": 12} | {
    word: number
    for number, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), start=1)
}


@dataclass(frozen=True)
class Parsed:
    """What a caption says: the phrase of each thing in order of mention, its style and its background, if any."""

    things: tuple[str, ...]
    style: str | None = None
    background: str | None = None


def phrases(text: str, names: Sequence[str] = (), styles: Sequence[str] = (), most: int = THINGS) -> Parsed:
    """The things that a caption names: "Three red apples under a tree, flat style" → "red apples" three times, "tree".

    A text is split at words that relate ("and", "with", "on", "left of") and at marks, but not within one of `names`.
    Taken off are articles, number words, which repeat a phrase, words of size and of place, one of `styles`, and the
    background ("on a green background"). Words of colour stay. All is in small letters.

    The first `most` phrases are given, and never none: a text that names nothing else is one phrase whole, unless it
    is empty or says a style or a background alone. The time is linear in the text. Rules do it, and no
    network, so that anybody can see why a thing was missed.
    """
    known = _Known.of(tuple(names), tuple(styles))
    things: list[str] = []
    style = ground = None
    words = known.words(text)
    for before, chunk in _chunks(words):
        own = _stripped(chunk)
        if own[-1] in known.styles:
            style = style or known.styles[own.pop()]
        if _is_ground(before, chunk, ground):
            ground = " ".join([ground, *own] if ground else own)
        elif not (all(word in _FILLERS for word in own) or (len(own) > 1 and own[-1] == "style")):
            number, phrase = _counted(own)
            things += [phrase] * min(number, most - len(things))
    whole = " ".join(word for word in words if not _MARK.fullmatch(word))
    if not things and whole and style is None and ground is None:
        things = [whole]
    return Parsed(tuple(things), style, ground)


def indivisible(captions: Iterable[str]) -> tuple[str, ...]:
    """Those captions of single things that `phrases` must know as `names`, for it would split or change them: "cat with
    tears of joy", "two hearts", "large blue diamond"; and those that begin with a colour, as "blue heart", which is not
    a heart in blue. They are in small letters and sorted."""
    texts = sorted({_plain(caption) for caption in captions})
    whole = {text for text in texts if phrases(f"{text}; {text}").things == (text, text)}
    return tuple(text for text in texts if text not in whole or split_color(text)[0] != text)


@dataclass(frozen=True)
class _Known:
    """What is kept whole: names and styles, by the stems of their words, and the lengths of those that begin alike."""

    whole: frozenset[tuple[str, ...]]
    lengths: dict[str, tuple[int, ...]]
    styles: dict[str, str]

    @staticmethod
    @lru_cache(maxsize=16)
    def of(names: tuple[str, ...], styles: tuple[str, ...]) -> "_Known":
        spelled = {_plain(style): style for style in styles}
        spelled |= {text.removesuffix(" style"): style for text, style in spelled.items()}
        whole = frozenset(tuple(_stem(word) for word in _TOKEN.findall(_plain(name))) for name in (*names, *spelled))
        lengths: dict[str, set[int]] = {}
        for stems in filter(None, whole):
            lengths.setdefault(stems[0], set()).add(len(stems))
        return _Known(whole, {first: tuple(sorted(own, reverse=True)) for first, own in lengths.items()}, spelled)

    def words(self, text: str) -> list[str]:
        """The words and marks of a text, in which each name and style is one word; the longest where several begin."""
        text = _plain(text)
        found = list(_TOKEN.finditer(text))
        stems, words, place = [_stem(token[0]) for token in found], [], 0
        while place < len(found):
            lengths = [n for n in self.lengths.get(stems[place], ()) if n <= len(found) - place]
            reach = next((n for n in lengths if tuple(stems[place : place + n]) in self.whole), 1)
            words.append(text[found[place].start() : found[place + reach - 1].end()])
            place += reach
        return words


def _plain(text: str) -> str:
    """A text in small letters with single spaces, emoji by their names, and one kind of apostrophe."""
    return " ".join(unicodedata.normalize("NFC", normalize(text)).replace("’", "'").lower().split())


def _stem(word: str) -> str:
    """A word in the singular, nearly: "cats with tears of joy" is the name "cat with tears of joy"."""
    return word.removesuffix("s") if len(word) > 3 else word


def _chunks(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What stands between marks and words that relate, each with the word before it."""
    before, chunk = "", []
    for place, word in enumerate([*words, "."]):
        following = words[place + 1] if place + 1 < len(words) else "."
        joins_colours = word == "and" and chunk and chunk[-1] in _COLOURS and following in _COLOURS
        relates = word in _CONNECTIVES or (word in _BEFORE_OF and following == "of")
        if joins_colours or not (relates or _MARK.fullmatch(word)):
            chunk += [] if word == "of" and not chunk else [word]
            continue
        if chunk:
            yield before, chunk
        before, chunk = word, []


def _stripped(chunk: Sequence[str]) -> list[str]:
    """A chunk without articles, what asks for a picture, and words of place and posture after it; never empty."""
    first, last = 0, len(chunk)
    while last - first > 1 and chunk[last - 1] in _AFTER:
        last -= 1
    while last - first > 1 and chunk[first] in _BEFORE:
        first += 1
    return list(chunk[first:last])


def _counted(chunk: Sequence[str]) -> tuple[int, str]:
    """How often a chunk says to draw its phrase, and the phrase: without numbers and sizes."""
    *others, last = chunk
    number, first = 1, 0
    while first < len(others) and ((word := others[first]) in _COUNTED or _number(word)):
        number = 1 if word == "pair" and last in _ONE_PAIR else _number(word) or number
        first += 1
    return number, " ".join([*(word for word in others[first:] if word not in _SIZES), last])


def _number(word: str) -> int:
    """The number that a word says, 0 if none."""
    return int(word) if word.isdecimal() and len(word) < 4 else _NUMBERS.get(word, 0)


def _is_ground(before: str, chunk: Sequence[str], ground: str | None) -> bool:
    """Whether a chunk says the background: it is called one, or is a colour alone, on which or to which things are."""
    if not _GROUNDS.isdisjoint(chunk):
        return True
    colour = not _COLOURS.isdisjoint(chunk) and all(word in _COLOURS or word in _SHADES for word in chunk)
    return colour and (ground is not None or before in ("on", "against"))
