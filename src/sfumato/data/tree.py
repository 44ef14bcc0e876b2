"""A tree of named files, on disk or in an archive, read as pictures with classes and captions."""

import json
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sfumato.data.captions import TEXT_ENDINGS, read_captions
from sfumato.data.table import TableSource, sha256_of
from sfumato.disk import hidden
from sfumato.errors import DataError
from sfumato.media.image.decode import ENDINGS
from sfumato.wording import brief, count, few, printable

# Room for the largest picture that `decode` takes, stored plainly.
MAX_BYTES = 2**28

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


def from_tree(entries: Iterable[FileEntry], where: str, notes: Sequence[str] = ()) -> TableSource:
    """The pictures among the files, in the order of their paths' bytes.

    - Pictures are told by their endings (`ENDINGS`); hidden files are passed over, other files counted in the notes.
    - If every picture lies in a sub-folder, the first sub-folder of its path is its class, and the classes are in
      order. The few at the top beside two sub-folders or more are then left out and named. If most lie at the top, or
      one sub-folder is all there is beside them, or pictures have captions, there are no classes.
    - Captions come from metadata files or a `.txt` beside a picture: see `read_captions`.

    The fingerprint covers paths, sizes, classes and captions, not the pictures' bytes.

    Raises DataError if there is no picture or a metadata file cannot be understood.
    """
    files = sorted((entry for entry in entries if visible(entry.path)), key=lambda entry: _as_bytes(entry.path))
    pictures = [entry for entry in files if _ending(entry.path) in ENDINGS]
    others = [entry.path for entry in files if _ending(entry.path) not in (*ENDINGS, *TEXT_ENDINGS)]
    notes = list(notes)
    if others:
        notes.append(f"{count(len(others), 'file')} of other kinds passed over: {few(others)}")
    if not pictures:
        found = f"none ({'; '.join(notes)})" if notes else "none"
        raise DataError(f"{brief(where)}: expected pictures ({' '.join(ENDINGS)}), came {found}; add some")

    said: list[str] = []
    texts = read_captions({entry.path: entry.read for entry in files}, [entry.path for entry in pictures], said)
    if texts is None:
        pictures = _without_strays(pictures, notes)
    paths = tuple(entry.path for entry in pictures)
    classes, labels = _classes(paths, notes)
    sizes = [entry.size for entry in pictures]
    return TableSource(
        names=tuple(printable(path) for path in paths),
        read=lambda i: pictures[i].read(MAX_BYTES),
        fingerprint=sha256_of("tree", json.dumps([paths, sizes, classes, labels, texts])),
        classes=classes,
        labels=labels,
        texts=texts,
        notes=(*notes, *said),
    )


def _without_strays(pictures: list[FileEntry], notes: list[str]) -> list[FileEntry]:
    """The pictures but for the few at the top beside class folders, which a note names."""
    inside = [entry for entry in pictures if "/" in entry.path]
    strays = [entry.path for entry in pictures if "/" not in entry.path]
    folders = {entry.path.partition("/")[0] for entry in inside}
    if len(folders) < 2 or not strays or len(strays) >= len(inside):
        return pictures
    what = f"{count(len(strays), 'picture')} at the top, beside {len(folders):,} folders of classes, left out"
    notes.append(f"{what}: {few(strays)}; put such pictures into a folder of their class")
    return inside


def _classes(paths: Sequence[str], notes: list[str]) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    folders = [path.partition("/")[0] for path in paths if "/" in path]
    if not folders:
        return (), None
    if len(folders) < len(paths):
        top = count(len(paths) - len(folders), "picture")
        notes.append(f"no classes: {top} at the top beside the sub-folders {few(sorted(set(folders)))}")
        return (), None
    classes = tuple(sorted(set(folders), key=_as_bytes))
    if {name.lower() for name in classes} <= _SPLITS:
        notes.append(f"the classes {few(classes)} look like splits: to train on one, name its folder")
    index = {name: i for i, name in enumerate(classes)}
    return classes, tuple(index[folder] for folder in folders)


def _ending(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _as_bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
