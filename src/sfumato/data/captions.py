"""Captions beside data: metadata files as on the Hugging Face Hub, or one `.txt` a datum."""

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sfumato.data.rows import METADATA, read_rows
from sfumato.data.text import read_text
from sfumato.errors import DataError, quoted
from sfumato.media import Medium
from sfumato.wording import SHOWN, brief, count, few, folded

CAPTION_KEYS = ("text", "captions", "caption")
TEXT_ENDINGS = (".csv", ".json", ".jsonl", ".txt")

MAX_METADATA_BYTES = 50_000_000
_MAX_TXT_BYTES = 2**18
MAX_ALL_BYTES = 2**28
MAX_CAPTIONS = 1_000
MAX_LINES = 100
"""Of metadata, a datum; beside `SPARE_LINES`, which may be of data that are absent."""
SPARE_LINES = 100_000

Files = Mapping[str, Callable[[int], bytes]]
"""Every path, with its reader, which is given the most bytes that it may return."""

_Found = dict[str, dict[str, None]]
"""The captions of each datum, in order and each once."""


def read_captions(
    files: Files, data: Sequence[str], notes: list[str], medium: Medium
) -> tuple[tuple[str, ...], ...] | None:
    """The captions of each datum, in the data's order; None if none has one.

    `files` are all files, `data` the paths among them that hold the medium's data.

    A `metadata.jsonl` (an object a line), `metadata.csv` (with a header) or `metadata.json` (a list of objects) in any
    folder names data below that folder by `file_name` and captions them by the first of `CAPTION_KEYS` that is not
    empty: a string, or in JSON a list of them. Rows that name the same datum add up. A datum without a row takes the
    non-empty lines of the `.txt` of its own name, if there is one. A name that is not there as it is spelled is found
    in another case, in composed or decomposed letters, and with `\\` for `/`.

    Absent data, data without a caption, unreadable `.txt` files and texts that belong to no datum are counted and named
    in `notes`.

    Raises DataError, naming file and line, for a metadata file that cannot be understood or is too large.
    """
    found: _Found = {path: {} for path in data}
    texts = _Texts({p: read for p, read in files.items() if _ending(p) in TEXT_ENDINGS and p not in found})
    metadata = {path for path in texts.files if posixpath.basename(path).casefold() in METADATA}
    find = _finder(data)
    read = {path for path in texts.files if path in metadata and _add_metadata(path, texts, find, found, notes, medium)}
    beside = _beside([path for path in texts.files if _ending(path) == ".txt"], data)
    _add_text_files(beside, texts, found, notes)
    bare = [path for path, own in found.items() if not own]
    if read or len(bare) < len(data):
        note_bare(bare, len(data), notes, medium)
    if alone := sorted(set(texts.files) - read - set(beside.values())):
        notes.append(f"{count(len(alone), 'text')} that no {medium.noun} answers to: {few(alone)}")
    return tuple(tuple(own) for own in found.values()) if len(bare) < len(data) else None


def note_bare(bare: Sequence[str], of: int, notes: list[str], medium: Medium) -> None:
    """Adds a note that counts and names the data without a caption, if there are any among so many."""
    if bare:
        has = "has" if len(bare) == 1 else "have"
        notes.append(f"{len(bare):,} of {count(of, medium.noun)} {has} no caption: {few(bare)}")


def first_given(values: Iterable[Any]) -> Any:
    """The first value that is neither null nor an empty text; None if there is none. An empty list means: no
    caption."""
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


def _add_metadata(
    path: str, texts: _Texts, find: Callable[[str], str | None], found: _Found, notes: list[str], medium: Medium
) -> bool:
    """Adds the captions of a metadata file; whether it had a row."""
    folder, name = posixpath.split(path)
    absent, first = 0, []
    place = ""
    text = texts.read(path, MAX_METADATA_BYTES)
    lines, most = text.count("\n"), SPARE_LINES + MAX_LINES * len(found)
    if lines > most:
        wanted = f"expected at most {most:,} lines for {count(len(found), medium.noun)}, came {lines:,}"
        raise DataError(f"{brief(path)}: {wanted}; take out the rows of absent {medium.plural}")
    for place, row in read_rows(text, name.casefold(), brief(path), medium):
        named, own = _row(row, place, medium)
        datum = find(posixpath.join(folder, named))
        if datum is None:
            absent += 1
            first = [*first, named] if len(first) <= SHOWN else first
            continue
        found[datum].update(dict.fromkeys(own))
        if len(found[datum]) > MAX_CAPTIONS:
            raise DataError(f"{place}: expected at most {MAX_CAPTIONS:,} captions of {brief(named)}; take some out")
    if absent:
        verb = "is" if absent == 1 else "are"
        notes.append(f"{count(absent, medium.noun)} named in {brief(path)} {verb} absent: {few(first)}")
    return bool(place)


def _row(row: dict[str, Any], place: str, medium: Medium) -> tuple[str, tuple[str, ...]]:
    """The datum that a row names, and its captions there."""
    if not isinstance(row.get("file_name"), str):
        keys = f"the keys {few([str(key) for key in row])}"
        raise DataError(f"{place}: expected 'file_name' with a {medium.noun}'s name, came {keys}; add it to every row")
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


def _beside(texts: Sequence[str], data: Sequence[str]) -> dict[str, str]:
    """Each datum's text file, of its own name but for the ending; or else the only one that is spelled alike."""
    stems = {posixpath.splitext(path)[0]: path for path in sorted(texts)}  # .txt comes after .TXT
    own = {path: posixpath.splitext(path)[0] for path in data}
    spelled = {stem: stem for stem in own.values() if stem in stems}
    if free := set(stems) - set(spelled):
        alike = _alone(free)
        others = _alone(set(own.values()) - set(spelled))
        spelled |= {stem: text for key, stem in others.items() if stem and (text := alike.get(key))}
    return {path: stems[spelled[stem]] for path, stem in own.items() if stem in spelled}


def _add_text_files(beside: Mapping[str, str], texts: _Texts, found: _Found, notes: list[str]) -> None:
    broken: dict[str, str] = {}
    for datum, path in beside.items():
        if found[datum]:
            continue
        try:
            text = texts.read(path, _MAX_TXT_BYTES)
            if text.count("\n") > MAX_CAPTIONS:
                raise DataError(f"{brief(path)}: expected at most {MAX_CAPTIONS:,} lines, a caption each")
        except DataError as error:
            broken[path] = str(error)
        else:
            found[datum].update(dict.fromkeys(stripped(text.split("\n"))))
    if broken:
        reason = next(iter(broken.values()))
        notes.append(f"{count(len(broken), 'caption file')} passed over: {few([*broken])} ({reason})")


def _ending(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
