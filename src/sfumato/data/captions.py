"""Captions beside pictures: metadata files as on the Hugging Face Hub, or one `.txt` a picture."""

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sfumato.data.rows import METADATA, read_rows
from sfumato.data.text import read_text
from sfumato.errors import DataError, quoted
from sfumato.wording import SHOWN, brief, count, few, folded

CAPTION_KEYS = ("text", "captions", "caption")
TEXT_ENDINGS = (".csv", ".json", ".jsonl", ".txt")

MAX_METADATA_BYTES = 50_000_000
_MAX_TXT_BYTES = 2**18
MAX_ALL_BYTES = 2**28
MAX_CAPTIONS = 1_000
MAX_LINES = 100
"""Of metadata, a picture; beside `SPARE_LINES`, which may be of pictures that are absent."""
SPARE_LINES = 100_000

Files = Mapping[str, Callable[[int], bytes]]
"""Every path, with its reader, which is given the most bytes that it may return."""

_Found = dict[str, dict[str, None]]
"""The captions of each picture, in order and each once."""


def read_captions(files: Files, pictures: Sequence[str], notes: list[str]) -> tuple[tuple[str, ...], ...] | None:
    """The captions of each picture, in the pictures' order; None if no picture has one.

    A `metadata.jsonl` (an object a line), `metadata.csv` (with a header) or `metadata.json` (a list of objects) in any
    folder names pictures below that folder by `file_name` and describes them by the first of `CAPTION_KEYS` that says
    something: a string, or in JSON a list of them. Rows that name the same picture add up. A picture that no row
    describes takes the non-empty lines of the `.txt` of its own name, if there is one. A name that is not there as it
    is spelled is found in another case, in composed or decomposed letters, and with `\\` for `/`.

    Absent pictures, pictures without a caption, unreadable `.txt` files and texts that belong to no picture are counted
    and named in `notes`.

    Raises DataError, naming file and line, for a metadata file that cannot be understood or is too large.
    """
    texts = _Texts({path: read for path, read in files.items() if _ending(path) in TEXT_ENDINGS})
    found: _Found = {picture: {} for picture in pictures}
    metadata = {path for path in texts.files if posixpath.basename(path).casefold() in METADATA}
    find = _finder(pictures)
    read = {path for path in texts.files if path in metadata and _add_metadata(path, texts, find, found, notes)}
    beside = _beside([path for path in texts.files if _ending(path) == ".txt"], pictures)
    _add_text_files(beside, texts, found, notes)
    bare = [picture for picture, own in found.items() if not own]
    if read or len(bare) < len(pictures):
        note_bare(bare, len(pictures), notes)
    if alone := sorted(set(texts.files) - read - set(beside.values())):
        notes.append(f"{count(len(alone), 'text')} that no picture answers to: {few(alone)}")
    return tuple(tuple(own) for own in found.values()) if len(bare) < len(pictures) else None


def note_bare(bare: Sequence[str], of: int, notes: list[str]) -> None:
    """Adds a note that counts and names the pictures without a caption, if there are any among so many."""
    if bare:
        has = "has" if len(bare) == 1 else "have"
        notes.append(f"{len(bare):,} of {count(of, 'picture')} {has} no caption: {few(bare)}")


def first_given(values: Iterable[Any]) -> Any:
    """The first value that is neither null nor an empty text; None if there is none. An empty list says: no caption."""
    return next((v for v in values if not (v is None or (isinstance(v, str) and not v.strip()))), None)


def stripped(value: str | Sequence[str | None] | None) -> tuple[str, ...]:
    """The captions in a value. One that stands there twice stays so."""
    texts = [] if value is None else [value] if isinstance(value, str) else value
    return tuple(own for text in texts if text is not None and (own := text.strip()))


class _Texts:
    """The text files of a data set, read within the bounds of one and of all."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._left = MAX_ALL_BYTES

    def read(self, path: str, limit: int) -> str:
        data = self.files[path](min(limit, self._left))
        self._left -= len(data)
        return read_text(data, brief(path))


def _add_metadata(path: str, texts: _Texts, find: Callable[[str], str | None], found: _Found, notes: list[str]) -> bool:
    """Adds what a metadata file says; whether it had a row."""
    folder, name = posixpath.split(path)
    absent, first = 0, []
    place = ""
    text = texts.read(path, MAX_METADATA_BYTES)
    lines, most = text.count("\n"), SPARE_LINES + MAX_LINES * len(found)
    if lines > most:
        wanted = f"expected at most {most:,} lines for {count(len(found), 'picture')}, came {lines:,}"
        raise DataError(f"{brief(path)}: {wanted}; take out the rows of absent pictures")
    for place, row in read_rows(text, name.casefold(), brief(path)):
        named, own = _row(row, place)
        picture = find(posixpath.join(folder, named))
        if picture is None:
            absent += 1
            first = [*first, named] if len(first) <= SHOWN else first
            continue
        found[picture].update(dict.fromkeys(own))
        if len(found[picture]) > MAX_CAPTIONS:
            raise DataError(f"{place}: expected at most {MAX_CAPTIONS:,} captions of {brief(named)}; take some out")
    if absent:
        verb = "is" if absent == 1 else "are"
        notes.append(f"{count(absent, 'picture')} named in {brief(path)} {verb} absent: {few(first)}")
    return bool(place)


def _row(row: dict[str, Any], place: str) -> tuple[str, tuple[str, ...]]:
    """The picture that a row names, and the captions that it gives it."""
    if not isinstance(row.get("file_name"), str):
        keys = f"the keys {few([str(key) for key in row])}"
        raise DataError(f"{place}: expected 'file_name' with a picture's name, came {keys}; add it to every row")
    value = first_given(row.get(key) for key in CAPTION_KEYS)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str | None) for text in items):
        came = ", ".join(quoted(text) for text in items[:SHOWN])
        raise DataError(f"{place}: expected a caption or a list of captions, came {came}; write them in quotes")
    return row["file_name"], stripped(items)


def _finder(paths: Sequence[str]) -> Callable[[str], str | None]:
    """A function that finds a path among `paths` as it is spelled, or else the only one that is spelled alike."""
    exact = set(paths)
    alike: dict[str, str | None] = {}

    def find(name: str) -> str | None:
        for spelled in (posixpath.normpath(name), posixpath.normpath(name.replace("\\", "/"))):
            if spelled in exact:
                return spelled
        if not alike:
            alike.update(_alone(paths))
        return alike.get(folded(spelled))

    return find


def _alone(names: Iterable[str]) -> dict[str, str | None]:
    """The names by what `folded` leaves of them; None where it leaves the same of several."""
    alike: dict[str, str | None] = {}
    for name in names:
        key = folded(name)
        alike[key] = None if key in alike else name
    return alike


def _beside(texts: Sequence[str], pictures: Sequence[str]) -> dict[str, str]:
    """Each picture's text file, of its own name but for the ending; or else the only one that is spelled alike."""
    stems = {posixpath.splitext(path)[0]: path for path in sorted(texts)}  # .txt comes after .TXT
    own = {picture: posixpath.splitext(picture)[0] for picture in pictures}
    spelled = {stem: stem for stem in own.values() if stem in stems}
    if free := set(stems) - set(spelled):
        alike = _alone(free)
        others = _alone(set(own.values()) - set(spelled))
        spelled |= {stem: text for key, stem in others.items() if stem and (text := alike.get(key))}
    return {picture: stems[spelled[stem]] for picture, stem in own.items() if stem in spelled}


def _add_text_files(beside: Mapping[str, str], texts: _Texts, found: _Found, notes: list[str]) -> None:
    broken: dict[str, str] = {}
    for picture, path in beside.items():
        if found[picture]:
            continue
        try:
            text = texts.read(path, _MAX_TXT_BYTES)
            if text.count("\n") > MAX_CAPTIONS:
                raise DataError(f"{brief(path)}: expected at most {MAX_CAPTIONS:,} lines, a caption each")
        except DataError as error:
            broken[path] = str(error)
        else:
            found[picture].update(dict.fromkeys(stripped(text.split("\n"))))
    if broken:
        reason = next(iter(broken.values()))
        notes.append(f"{count(len(broken), 'caption file')} passed over: {few([*broken])} ({reason})")


def _ending(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
