"""One table for the data of every kind of source: opening a source fills one."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sfumato.data.decoder import Kept
from sfumato.errors import DataError
from sfumato.media import Medium
from sfumato.wording import brief, count, few, well_formed

MAX_CLASSES = 100_000


@dataclass(frozen=True, eq=False)
class TableSource:
    """A `DataSource` of n data: a column for names, labels and captions each, and a function that reads one.

    `read` is called from any thread, and can be sent to another process. `labels` and `texts` are None when no datum
    has any; else they hold one entry each. `conditioning` holds the pictures that a network is to be conditioned on,
    one a datum and in the same order; None if there are none.
    """

    medium: Medium
    names: tuple[str, ...]
    read: Callable[[int], Kept]
    fingerprint: str
    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    texts: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()
    conditioning: "TableSource | None" = None

    def __len__(self) -> int:
        return len(self.names)

    def label(self, i: int) -> int | None:
        """The place of datum i's class in `classes`, or None without classes."""
        return None if self.labels is None else self.labels[i]

    def captions(self, i: int) -> tuple[str, ...]:
        """The captions of datum i: none, one or several."""
        return () if self.texts is None else self.texts[i]

    def name(self, i: int) -> str:
        """The name of datum i in messages."""
        return self.names[i]


def mended(table: TableSource, where: str) -> TableSource:
    """The table with every class and caption as `well_formed` text; the notes name those that were not.

    Raises DataError, naming `where`, if two classes are of one name then.
    """
    classes = tuple(well_formed(name) for name in table.classes)
    notes = list(table.notes)
    if classes != table.classes:
        if len(set(classes)) < len(set(table.classes)):
            twice = next(name for name in classes if classes.count(name) > 1)
            wanted = "expected classes that differ in characters of Unicode"
            raise DataError(f"{brief(where)}: {wanted}, came two that are both read as {brief(twice)}; rename one")
        strange = [name for name, own in zip(classes, table.classes, strict=True) if name != own]
        notes.append(f"{count(len(strange), 'class name')} with bytes or halves that are no characters: {few(strange)}")
    if table.texts is None:
        return replace(table, classes=classes, notes=tuple(notes))
    texts = tuple(tuple(well_formed(text) for text in own) for own in table.texts)
    if texts != table.texts:
        changed = [name for name, new, old in zip(table.names, texts, table.texts, strict=True) if new != old]
        notes.append(f"{count(len(changed), table.medium.noun)} with half a character in a caption: {few(changed)}")
    return replace(table, classes=classes, texts=texts, notes=tuple(notes))


def repr_chunks(*values: object, texts: tuple[tuple[str, ...], ...] | None) -> Callable[[], Iterator[str]]:
    """`repr((*values, texts))`, a row at a time: where one text stands in every row, the whole would take much more."""

    def spelled() -> Iterator[str]:
        yield "(" + "".join(f"{value!r}, " for value in values)
        if texts is None:
            yield "None)"
            return
        yield "("
        for i, own in enumerate(texts):
            yield f"{', ' if i else ''}{own!r}"
        yield ",))" if len(texts) == 1 else "))"

    return spelled


def sha256_of(*parts: str | bytes | np.ndarray | Callable[[], Iterator[str]]) -> str:
    """SHA-256 over the parts in order, as 64 hexadecimal digits; an array counts with its type and shape, `repr_chunks`
    as the text that they make up."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            sha.update(b"b%d:" % len(part))
            sha.update(part)
        elif callable(part):
            sha.update(b"s%d:" % sum(len(piece.encode()) for piece in part()))
            for piece in part():
                sha.update(piece.encode())
        elif isinstance(part, str):
            data = part.encode("utf-8", "surrogatepass")
            sha.update(b"s%d:" % len(data) + data)
        else:
            sha.update(f"a{part.dtype.str}{part.shape}:".encode())
            sha.update(np.ascontiguousarray(part).data)
    return sha.hexdigest()
