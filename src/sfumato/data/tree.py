"""A tree of named files, on disk or in an archive, read as data of one medium with classes and captions."""

import json
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from sfumato.data.captions import TEXT_ENDINGS, read_captions
from sfumato.data.table import TableSource, sha256_of
from sfumato.disk import hidden
from sfumato.errors import DataError
from sfumato.media import Image, Medium
from sfumato.wording import brief, count, few, printable

# The largest picture that is decoded, uncompressed; 50 minutes of 16-bit stereo.
MAX_BYTES = 2**28

_BESIDE = ".conditioning"
"""What stands before the ending of a picture that another is conditioned on: `cat.conditioning.png` of `cat.jpg`."""
_SPLITS = {"dev", "test", "train", "val", "valid", "validation"}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its path below the root (with '/'), its size in bytes, and how to read it.

    `read` is given the most bytes that it may return, and raises DataError, naming the file, if there are more or it
    cannot.
    """

    path: str
    size: int
    read: Callable[[int], bytes]


def visible(path: str) -> bool:
    """Whether no part of the path begins with a dot or is the system's own, as Thumbs.db and @eaDir are."""
    return not any(hidden(part) for part in path.split("/"))


def from_tree(entries: Iterable[FileEntry], where: str, medium: Medium, notes: Sequence[str] = ()) -> TableSource:
    """The files of a medium's endings, in the order of their paths' bytes.

    - Hidden files are passed over; files of other endings, of other media among them, are counted in the notes.
    - If every datum lies in a sub-folder, the first sub-folder of its path is its class, and the classes are in order.
      The few at the top beside two sub-folders or more are then left out and named. If most lie at the top, or one
      sub-folder is all there is beside them, or data have captions, there are no classes.
    - Captions come from metadata files or a `.txt` beside a datum: see `read_captions`.
    - A picture beside another, of its name and `.conditioning`, is what that one is conditioned on, and no datum.

    The fingerprint covers paths, sizes, classes and captions, not the files' bytes.

    Raises DataError if there is no datum or a metadata file cannot be understood.
    """
    files = sorted((entry for entry in entries if visible(entry.path)), key=lambda entry: _as_bytes(entry.path))
    data, beside = _apart([entry for entry in files if _ending(entry.path) in medium.endings], medium)
    others = [entry.path for entry in files if _ending(entry.path) not in (*medium.endings, *TEXT_ENDINGS)]
    notes = list(notes)
    if others:
        notes.append(f"{count(len(others), 'file')} of other kinds passed over: {few(others)}")
    if not data:
        found = f"none ({'; '.join(notes)})" if notes else "none"
        hint = _hint({_ending(path) for path in others})
        raise DataError(f"{brief(where)}: expected {medium.plural} ({' '.join(medium.endings)}), came {found}; {hint}")

    caption_notes: list[str] = []
    readers = {entry.path: entry.read for entry in files}
    texts = read_captions(readers, [entry.path for entry in data], caption_notes, medium)
    if texts is None:
        data = _without_strays(data, notes, medium)
    paths = tuple(entry.path for entry in data)
    classes, labels = _classes(paths, notes, medium)
    sizes = [entry.size for entry in data]
    return TableSource(
        medium=medium,
        names=tuple(printable(path) for path in paths),
        read=_Reader(tuple(data)),
        fingerprint=sha256_of("tree", json.dumps([paths, sizes, classes, labels, texts])),
        classes=classes,
        labels=labels,
        texts=texts,
        notes=(*notes, *caption_notes),
        conditioning=_conditioning(data, beside, medium) if beside else None,
    )


def _apart(entries: list[FileEntry], medium: Medium) -> tuple[list[FileEntry], dict[str, FileEntry]]:
    """The data, and the pictures that some are conditioned on, by the data's paths without their endings."""
    if not isinstance(medium, Image):
        return entries, {}
    stems = {_stem(entry.path) for entry in entries}
    beside = {
        own: entry
        for entry in entries
        if (stem := _stem(entry.path)).endswith(_BESIDE) and (own := stem.removesuffix(_BESIDE)) in stems
    }
    taken = {entry.path for entry in beside.values()}
    return [entry for entry in entries if entry.path not in taken], beside


def _conditioning(data: Sequence[FileEntry], beside: dict[str, FileEntry], medium: Medium) -> TableSource:
    """The pictures that the data are conditioned on; reading one that is not there is an error that names it."""
    entries = tuple(beside.get(_stem(entry.path)) or _missing(entry.path) for entry in data)
    about = json.dumps([[entry.path, entry.size] for entry in entries])
    names = tuple(printable(entry.path) for entry in entries)
    return TableSource(medium, names, _Reader(entries), sha256_of("tree", about))


def _missing(path: str) -> FileEntry:
    return FileEntry(f"{_stem(path)}{_BESIDE}{_ending(path)}", 0, partial(_refuse, path))


def _refuse(path: str, limit: int) -> bytes:
    name = f"{posixpath.basename(_stem(path))}{_BESIDE}{_ending(path)}"
    raise DataError(f"{brief(path)}: expected a conditioning image beside it, came none; add {brief(name)}")


@dataclass(frozen=True)
class _Reader:
    """Reads file i."""

    files: tuple[FileEntry, ...]

    def __call__(self, i: int) -> bytes:
        return self.files[i].read(MAX_BYTES)


def _hint(endings: set[str]) -> str:
    """What to do where there are no data but files of these endings."""
    from sfumato.parts import MEDIA  # here, for it imports every part, and few calls come here

    plurals = [medium.plural for medium in MEDIA.kinds.values() if endings & {*getattr(medium, "endings", ())}]
    return f"for {' or '.join(plurals)} choose a recipe of them" if plurals else "add some"


def _without_strays(data: list[FileEntry], notes: list[str], medium: Medium) -> list[FileEntry]:
    """The data but for the few at the top beside class folders, which a note names."""
    inside = [entry for entry in data if "/" in entry.path]
    strays = [entry.path for entry in data if "/" not in entry.path]
    folders = {entry.path.partition("/")[0] for entry in inside}
    if len(folders) < 2 or not strays or len(strays) >= len(inside):
        return data
    what = f"{count(len(strays), medium.noun)} at the top, beside {len(folders):,} folders of classes, left out"
    notes.append(f"{what}: {few(strays)}; put such {medium.plural} into a folder of their class")
    return inside


def _classes(paths: Sequence[str], notes: list[str], medium: Medium) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    folders = [path.partition("/")[0] for path in paths if "/" in path]
    if not folders:
        return (), None
    if len(folders) < len(paths):
        top = count(len(paths) - len(folders), medium.noun)
        notes.append(f"no classes: {top} at the top beside the sub-folders {few(sorted(set(folders)))}")
        return (), None
    classes = tuple(sorted(set(folders), key=_as_bytes))
    if {name.lower() for name in classes} <= _SPLITS:
        notes.append(f"the classes {few(classes)} look like splits: to train on one, name its folder")
    index = {name: i for i, name in enumerate(classes)}
    return classes, tuple(index[folder] for folder in folders)


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _ending(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _as_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
