"""Captions beside pictures: `metadata.jsonl` and `metadata.csv` as on the Hugging Face Hub, or one `.txt` a picture."""

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence

from sfumato.errors import DataError
from sfumato.wording import count, few, printable

Files = Mapping[str, Callable[[], bytes]]


def read_captions(files: Files, pictures: Sequence[str], notes: list[str]) -> tuple[tuple[str, ...], ...] | None:
    """The captions of each picture, in the pictures' order; None if no picture has one.

    `files` maps every path to its reader. A `metadata.jsonl` (an object a line) or `metadata.csv` (with a header) in
    any folder names pictures below that folder by `file_name` and describes them by `text`, or else `caption`: a
    string, or in JSON a list of them. Rows that name the same picture add up. A picture that no row describes takes
    the non-empty lines of the `.txt` of its own name, if there is one. Absent pictures, pictures without a caption
    and unreadable `.txt` files are counted and named in `notes`.

    Raises DataError, naming file and line, for a metadata file that cannot be understood.
    """
    found: dict[str, list[str]] = {picture: [] for picture in pictures}
    described = False
    for path in files:
        if posixpath.basename(path) in ("metadata.csv", "metadata.jsonl"):
            described = True
            _add_metadata(path, files[path], found, notes)
    _add_text_files(files, found, notes)
    bare = [picture for picture, texts in found.items() if not texts]
    if described or len(bare) < len(pictures):
        note_bare(bare, len(pictures), notes)
    return tuple(tuple(dict.fromkeys(texts)) for texts in found.values()) if len(bare) < len(pictures) else None


def note_bare(bare: Sequence[str], of: int, notes: list[str]) -> None:
    """Adds a note that counts and names the pictures without a caption, if there are any among so many."""
    if bare:
        has = "has" if len(bare) == 1 else "have"
        notes.append(f"{len(bare):,} of {count(of, 'picture')} {has} no caption: {few(bare)}")


def _add_metadata(path: str, read: Callable[[], bytes], found: dict[str, list[str]], notes: list[str]) -> None:
    absent: list[str] = []
    rows = _json_rows if path.endswith(".jsonl") else _csv_rows
    try:
        for line, row in rows(read().decode("utf-8-sig")):
            name, texts = _row(row, f"{printable(path)} line {line}")
            picture = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            if picture in found:
                found[picture].extend(texts)
            else:
                absent.append(name)
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: expected UTF-8, came other bytes ({error}); save it as UTF-8") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{printable(path)}: expected a row a picture, came {error}; mend or remove it") from error
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        named = f"{count(len(absent), 'picture')} named in {printable(path)} {verb} absent"
        notes.append(f"{named}: {few(absent)}")


def _json_rows(text: str) -> Iterator[tuple[int, object]]:
    for line, part in enumerate(text.split("\n"), start=1):
        if part.strip():
            try:
                yield line, json.loads(part)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"no JSON in line {line} ({error})") from error


def _csv_rows(text: str) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        yield reader.line_num, row


def _row(row: object, place: str) -> tuple[str, list[str]]:
    """The picture that a row names, and the captions that it gives it."""
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
        keys = f"the keys {few([str(key) for key in row])}" if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{place}: expected 'file_name' with a picture's name, came {keys}; add it to every row")
    texts = row.get("text", row.get("caption"))
    texts = [] if texts is None else texts if isinstance(texts, list) else [texts]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{place}: expected a caption or a list of captions, came {few([repr(t) for t in texts])}")
    return row["file_name"], [stripped for text in texts if (stripped := text.strip())]


def _add_text_files(files: Files, found: dict[str, list[str]], notes: list[str]) -> None:
    broken: list[str] = []
    for picture, texts in found.items():
        path = posixpath.splitext(picture)[0] + ".txt"
        if texts or path not in files:
            continue
        try:
            lines = files[path]().decode("utf-8-sig").split("\n")
        except (DataError, UnicodeDecodeError):
            broken.append(path)
            continue
        texts.extend(stripped for line in lines if (stripped := line.strip()))
    if broken:
        notes.append(f"{count(len(broken), 'caption file')} passed over, not readable as UTF-8: {few(broken)}")
