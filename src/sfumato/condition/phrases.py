"""Captions taken apart: the phrase of each thing that they name."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sfumato.condition import english
from sfumato.condition.colors import split_color
from sfumato.condition.english import COLOURS, DETERMINERS, FILLERS, IS, is_doing, number
from sfumato.condition.words import Known, is_mark, plain_text

THINGS = 5
"""How many things of a caption are read, if nobody says."""


_WHITE = re.compile(  # but not of "black and white background", "pink to white background" or "off-white background"
    r"(?<!\band)(?<!\band\s)(?<!\bto)(?<!\bto\s)(?<!-)"
    r"[\s,]{0,2}\b(?:(?:on|against|with|before|in front of)\s+)?(?:(?:an?|the)\s+)?(?:(?:plain|pure|simple)\s+)?"
    r"white\s+(?:background|backdrop|ground)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parsed:
    """What a caption says: the phrase of each thing in order of mention, its style and its background, if any."""

    things: tuple[str, ...]
    style: str | None = None
    background: str | None = None


def phrases(text: str, names: Sequence[str] = (), styles: Sequence[str] = (), most: int = THINGS) -> Parsed:
    """The things that a caption names: "Three red apples under a tree, flat style" → "red apples" three times, "tree".

    A text is split at words that relate ("and", "with", "on", "left of", "eating"), at marks and before a further
    article, but not within one of `names`. Taken off are articles, number words, which repeat a phrase, words of size
    and of place, what a thing does ("sleeping"), what is not there ("without a hat"), one of `styles`, and the
    background ("on a green background"). Words of colour stay, and go with their thing: "a red and
    a blue apple", "the apple is blue"; and so do others that say how it is: "the cat is happy" names a "happy cat". A
    plural without a number is two. All is in small letters.

    At most `most` phrases are given: each thing once, as far as they go, and then its number. There is never none: a
    text that names nothing else is one phrase whole, unless it is empty or says a style or a background alone. The time
    is linear in the text. Rules do it, and no network, so that anybody can see why a thing was missed.
    """
    reader = _Reader(Known.of(tuple(names), tuple(styles)))
    words = reader.known.words(text)
    for before, chunk in _chunks(words):
        reader.read(before, chunk)
    reader.settle()
    whole = " ".join(word for word in words if not is_mark(word))
    if not reader.groups and whole and reader.style is None and reader.ground is None:
        reader.groups.append((1, whole))
    return Parsed(_repeated(reader.groups[:most], most), reader.style, reader.ground)


def without_white_background(text: str) -> str:
    """A caption without "on a white background": white is before what a layout stands of which no background is named,
    and captions that a network learns from name others alone. "a cat on a white background, flat style" → "a cat, flat
    style"."""
    return _WHITE.sub("", text).strip()


def indivisible(captions: Iterable[str]) -> tuple[str, ...]:
    """Those captions of single things that `phrases` must know as `names`, for it would split or change them: "cat with
    tears of joy", "two hearts", "grapes", "large blue diamond"; and those that begin with a colour, as "blue heart",
    which is not a heart in blue. They are in small letters and sorted."""
    texts = sorted({plain_text(caption) for caption in captions})
    whole = {text for text in texts if phrases(f"{text}; {text}").things == (text, text)}
    return tuple(text for text in texts if text not in whole or split_color(text)[0] != text)


@dataclass
class _Colours:
    """Colours without a thing so far: "a red" of "a red and a blue apple"."""

    words: str
    number: int
    chunk: Sequence[str]
    before: str

    @property
    def is_fruit(self) -> bool:
        """Whether they may be "an orange", "a blue orange"; no other thing has the name of a colour."""
        return self.words.endswith("orange") and self.number < 2 and _determined(self.chunk)

    @property
    def follow(self) -> bool:
        """Whether they are of the thing before: "is blue", "an apple, blue"."""
        return (self.before in IS or is_mark(self.before)) and not _determined(self.chunk)


@dataclass
class _Reader:
    """What is read of a caption so far: how many of each phrase, colours that wait for their thing, style, ground."""

    known: Known
    groups: list[tuple[int, str]] = field(default_factory=list)
    waiting: list[_Colours] = field(default_factory=list)
    style: str | None = None
    ground: str | None = None
    absent: bool = False
    subject: bool = False
    """Whether the last thing may be the subject of "is"; in "behind the moon is cheese" it is not."""

    def read(self, before: str, chunk: Sequence[str]) -> None:
        """A chunk, and the word before it."""
        own = _stripped(chunk)
        self.absent = before in english.ABSENT or (self.absent and before == "or")
        if own[-1] in self.known.styles:
            self.style = self.style or self.known.styles[own.pop()]
        if self._is_ground(before, chunk):
            self._ground(before, chunk, own)
        elif not (self.absent or _says_nothing(before, own)):
            self._thing(before, chunk, own)

    def _ground(self, before: str, chunk: Sequence[str], own: Sequence[str]) -> None:
        """The background, with the colours before it: "a blue to pink gradient"."""
        if before not in ("and", "to") or _determined(chunk):
            self.settle()
        parts = [*filter(None, [self.ground]), *(colours.words for colours in self.waiting), *own]
        self.ground, self.waiting = " ".join(parts), []

    def settle(self) -> None:
        """Colours that no thing came for are those of the thing before, or things themselves: "an orange"."""
        for colours in self.waiting:
            if not (colours.follow and self.groups):
                self.groups.append((colours.number or 1, colours.words))
            elif not _leading(self.groups[-1][1].split()):
                self.groups[-1] = self.groups[-1][0], f"{colours.words} {self.groups[-1][1]}"
        self.waiting = []

    def _thing(self, before: str, chunk: Sequence[str], own: Sequence[str]) -> None:
        count, words = _counted(own, self.known)
        words = " ".join(words).split() if self.waiting else words  # "a red and a green apple", though that is a name
        colours = _leading(words)
        if any(one.is_fruit for one in self.waiting):
            self.settle()
        if colours == len(words):
            self.waiting.append(_Colours(" ".join(words), count, chunk, before))
            return
        if not (colours and self.waiting):
            self.settle()
        if before in IS and self.subject and not (_determined(chunk) or self._is_several(words[-1])):
            self._describe(words)
            return
        if words[-1] in ("one", "ones") and colours and self.groups:  # "a blue one"
            last = self.groups[-1][1].split()
            words[-1:] = last[_leading(last) :]
        several = self._is_several(words[-1]) and not _single(chunk)
        self.subject = before in ("", "and") or is_mark(before)
        if not self.waiting:
            self.groups.append((count or 1 + several, " ".join(words)))
        else:
            self._together(count, words, colours, _determined(chunk), several)

    def _is_several(self, word: str) -> bool:
        return english.is_plural(word) and word not in self.known.names

    def _describe(self, words: Sequence[str]) -> None:
        """What the thing before is, "happy", goes between its colours and its name, if there is nothing there yet."""
        count, last = self.groups[-1][0], self.groups[-1][1].split()
        colours = _leading(last)
        if colours + 1 == len(last):
            self.groups[-1] = count, " ".join([*last[:colours], *words, *last[colours:]])

    def _together(self, count: int, words: list[str], colours: int, determined: bool, several: bool) -> None:
        """A thing after colours that wait for it: one of each colour, or one of them all."""
        waiting, self.waiting = self.waiting, []
        noun, every = words[colours:], [*(one.words for one in waiting), " ".join(words[:colours])]
        if determined:
            numbers = [*(one.number or 1 for one in waiting), count or 1]
        elif several:
            total = max(waiting[0].number, len(every))
            numbers = [(total + place) // len(every) for place in reversed(range(len(every)))]
        else:
            numbers, every = [waiting[0].number or 1], [" and ".join(every)]
        self.groups += [(n, " ".join([colour, *noun])) for n, colour in zip(numbers, every, strict=True)]

    def _is_ground(self, before: str, chunk: Sequence[str]) -> bool:
        """Whether a chunk says the background: it is called one, or is a colour alone, on which or to which things
        are."""
        if not english.GROUNDS.isdisjoint(chunk):
            return True
        return _leading(chunk) == len(chunk) and (self.ground is not None or before in ("on", "against"))


def _chunks(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What stands between marks and words that relate, each with the word before it."""
    before, chunk, named = "", [], False  # whether the chunk has a word that may name a thing
    for place, word in enumerate([*words, "."]):
        following = words[place + 1] if place + 1 < len(words) else "."
        if relates := _relates(word, following, named) or _begins(word, chunk, following, named):
            if chunk:
                yield before, chunk
            if chunk or before not in english.ABSENT:
                before = word
            chunk, named = [], False
        if relates != "between" and not (word == "of" and not chunk):
            chunk.append(word)
            named = named or not (word in FILLERS or word in COLOURS or number(word))


def _relates(word: str, following: str, named: bool) -> str:
    """ "between" for a mark, and a word that relates; else nothing."""
    own = word in english.RELATING or word in english.ABSENT or (word in english.DOING and named)
    return "between" if own or (word in english.BEFORE_OF and following == "of") or is_mark(word) else ""


def _begins(word: str, chunk: Sequence[str], following: str, named: bool) -> str:
    """ "begins" for a word that another thing begins with: an article or a number within a chunk; else nothing."""
    if not chunk or chunk[-1] == "of" or following in english.RELATING or is_mark(following):
        return ""
    first = word in DETERMINERS or (word == "the" and is_doing(chunk[-1])) or (named and number(word) > 1)
    return "begins" if first and not (chunk[-1] in english.ARTICLES or number(chunk[-1])) else ""


def _stripped(chunk: Sequence[str]) -> list[str]:
    """A chunk without articles, what asks for a picture, and words of place and of doing after it; never empty."""
    first, last = 0, len(chunk)
    while last - first > 1 and (chunk[last - 1] in english.AFTER or is_doing(chunk[last - 1])):
        last -= 1
    while last - first > 1 and chunk[first] in english.BEFORE:
        first += 1
    return list(chunk[first:last])


def _says_nothing(before: str, own: Sequence[str]) -> bool:
    """Whether a chunk names no thing: small words, another style, or what a thing is doing."""
    return (
        all(word in FILLERS for word in own)
        or (len(own) > 1 and own[-1] == "style")
        or (before in IS and is_doing(own[-1]))
    )


def _counted(own: Sequence[str], known: Known) -> tuple[int, list[str]]:
    """How many of its thing a chunk says, 0 for none given, and its words without numbers and sizes."""
    *others, last = _number_first(own)
    count, first = 0, 0
    while first < len(others):
        word = others[first]
        found = number(word)
        if not found and "of" in others[first + 1 : first + 2]:
            found = english.GROUPS.get(word.removesuffix("s"), 0)
            found = (count or 1) if found and (last in english.ONE or last in known.names) else found
        if not found and word not in english.COUNTED:
            break
        count, first = found or count, first + 1
    return count, [*(word for word in others[first:] if word not in english.SIZE_WORDS), last]


def _number_first(own: Sequence[str]) -> list[str]:
    """ "apple x3" as "x3 apple"."""
    first = len(own) - 1 - (len(own) > 2 and own[-2] in english.MULTIPLIERS)
    times = "".join(own[first:])
    return [times, *own[:first]] if first and times[0] in english.MULTIPLIERS and number(times) else [*own]


def _leading(words: Sequence[str]) -> int:
    """With how many words of colour a phrase begins."""
    n = next((n for n, word in enumerate(words) if not (word in COLOURS or word in english.SHADE_WORDS)), len(words))
    while n and words[n - 1] in english.SHADE_WORDS:  # "a red light bulb"
        n -= 1
    return n


def _single(chunk: Sequence[str]) -> bool:
    return not english.OF_ONE.isdisjoint(chunk)


def _determined(chunk: Sequence[str]) -> bool:
    """Whether a chunk has an article or a number of its own."""
    return any(word in DETERMINERS or word == "the" or number(word) for word in chunk)


def _repeated(groups: Sequence[tuple[int, str]], most: int) -> tuple[str, ...]:
    """Each phrase as often as it is asked for, while there is room for those after it."""
    things, spare = [], most - len(groups)
    for count, phrase in groups:
        things += [phrase] * min(count, 1 + spare)
        spare -= min(count - 1, spare)
    return tuple(things)
