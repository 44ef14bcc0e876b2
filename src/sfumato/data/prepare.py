"""From a source to the data set that training reads: all of one form, in order, the broken ones left out."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.data.dataset import Dataset, Skipped, Stored, size_of
from sfumato.data.decoder import Decoded, Decoder, decoder_of, quiet
from sfumato.data.on_demand import OnDemand
from sfumato.data.parallel import in_order
from sfumato.data.source import DataSource
from sfumato.data.store import Store, StoreMode, check_mode
from sfumato.data.table import sha256_of
from sfumato.errors import DataError, InputError
from sfumato.media import Medium, Size
from sfumato.media.image import Fit
from sfumato.media.image.transform import WHITE, Color
from sfumato.wording import brief, count, few


def prepare(
    source: DataSource,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: Color = WHITE,
    progress: Callable[[int, int], None] | None = None,
    store: StoreMode = "auto",
    memory: int = 2 * 2**30,
    cache: str | Path | None = None,
) -> Dataset:
    """All data of a source, each decoded once and brought to one form.

    - `size`, in the medium's order, may be None if all data share one.
    - Of pictures: `channels` None means 1 if every one is grayscale, else 3; `fit` and `background` are those of
      `to_array`.
    - `progress(done, of)` is called after each datum.
    - `store` is where the decoded data lie: in "memory"; in the file `cache` (.npy), written whole or not at all, as
      a "map"; or nowhere ("source"), so that each is decoded whenever it is needed, the latest `memory` bytes apart.
      "auto" takes the first of these that has room: `memory` bytes, then the disk of `cache`. Pictures count with 3
      channels when `channels` is None. The order and the data are the same in each.

    Broken data are left out and named; the order of the rest does not change.

    Raises InputError for a wrong argument and for data that differ in size when no `size` is given; DataError if none
    is left; StorageError if the cache cannot be written.
    """
    check_mode(store, cache)
    decoder = decoder_of(source.medium, size, channels, fit, background)
    n = len(source)
    found = _Found()
    with (
        Store(n, source.medium.noun, store, memory, cache) as room,
        closing(_decoded(source, decoder)) as results,
    ):
        for i, datum in enumerate(results):
            if isinstance(datum, Skipped):
                found.skipped.append(datum)
            else:
                found.add(source, i, datum)
                room.add(datum.stored)
            if progress is not None:
                progress(i + 1, n)
        if not found.kept:
            raise DataError(_nothing_left(source.medium, found.skipped))
        medium, notes = decoder.conclude(found.traits)
        stored: Stored | None = room.finish(medium.channels)
    if stored is None:
        shape = (medium.channels, *found.shape[1:]) if len(found.shape) > 1 else found.shape
        stored = OnDemand(source, decoder, found.kept, b"".join(found.contents), shape, found.dtype, memory)
    notes = [*_losses(source, found), *notes, *([room.note] if room.note else [])]
    return _dataset(source, decoder, medium, found, stored, notes)


@dataclass
class _Decoded:
    """A decoded datum, and the SHA-256 of what it was read from."""

    stored: np.ndarray
    trait: Any
    contents: bytes


@dataclass
class _Found:
    """The data decoded so far, and those left out."""

    kept: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    traits: list[Any] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))

    def add(self, source: DataSource, i: int, datum: _Decoded) -> None:
        """Takes a datum in. Raises InputError if it is of another size than the first."""
        if not self.kept:
            self.shape, self.dtype = datum.stored.shape, datum.stored.dtype
        elif datum.stored.shape != self.shape:
            raise InputError(_sizes_differ(source, {self.kept[0]: self.shape, i: datum.stored.shape}))
        self.kept.append(i)
        self.contents.append(datum.contents)
        self.traits.append(datum.trait)


def _decoded(source: DataSource, decoder: Decoder) -> Generator[_Decoded | Skipped]:
    """Every datum in order, decoded ahead in threads where that pays."""

    def decode(i: int) -> _Decoded | Skipped:
        name = source.name(i)
        try:
            kept = source.read(i)
            datum: Decoded = decoder(kept, name)
            return _Decoded(datum.stored, datum.trait, bytes.fromhex(sha256_of(kept)))
        except DataError as error:
            return Skipped(name, str(error).removeprefix(f"{brief(name)}: "))

    with quiet(), closing(in_order(decode, len(source))) as results:
        yield from results


def _dataset(
    source: DataSource, decoder: Decoder, medium: Medium, found: _Found, stored: Stored, notes: list[str]
) -> Dataset:
    settings = [stored.shape[1:], *decoder.settings, [one.name for one in found.skipped]]
    return Dataset(
        medium=medium,
        stored=stored,
        labels=np.array([source.label(i) for i in found.kept], dtype=np.int64) if source.classes else None,
        captions=tuple(source.captions(i) for i in found.kept),
        names=tuple(source.name(i) for i in found.kept),
        classes=source.classes,
        skipped=tuple(found.skipped),
        notes=(*source.notes, *notes),
        fingerprint=sha256_of(medium.plural, source.fingerprint, json.dumps(settings)),
        contents=sha256_of(*(digest.hex() for digest in found.contents)),
    )


def _sizes_differ(source: DataSource, shapes: dict[int, tuple[int, ...]]) -> str:
    medium = source.medium
    sizes = (f"{brief(source.name(i))} is {medium.size_text(size_of(shape))}" for i, shape in shapes.items())
    return f"size: expected one, since the {medium.plural} differ ({', '.join(sizes)}), came None; give size"


def _nothing_left(medium: Medium, skipped: list[Skipped]) -> str:
    reasons = "; ".join(f"{brief(one.name)}: {one.reason}" for one in skipped[:3]) or "the source is empty"
    came = f"came none of {len(skipped):,} that can be used ({reasons})"
    return f"expected {medium.plural}, {came}; mend or replace them"


def _losses(source: DataSource, found: _Found) -> Iterator[str]:
    """Notes on what was left out."""
    if found.skipped:
        verb = "was" if len(found.skipped) == 1 else "were"
        named = few([one.name for one in found.skipped])
        yield f"{len(found.skipped):,} of {count(len(source), source.medium.noun)} {verb} left out as broken: {named}"
    left = {source.label(i) for i in found.kept}
    gone = [name for label, name in enumerate(source.classes) if label not in left]
    if gone:
        yield f"no {source.medium.noun} is left of {few(gone)}"
