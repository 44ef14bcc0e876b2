"""From a source to the data set that training reads: all of one form, in order, the broken ones left out."""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.data.dataset import Dataset, Skipped, Stored, size_of
from sfumato.data.decoder import Decoded, Decoder, PictureDecoder, decoder_of, quiet
from sfumato.data.on_demand import OnDemand
from sfumato.data.parallel import in_order
from sfumato.data.source import DataSource
from sfumato.data.store import Store, StoreMode, check_mode, conditioning_cache
from sfumato.data.table import sha256_of
from sfumato.errors import DataError, InputError
from sfumato.media import Medium, Size
from sfumato.media.image import Fit
from sfumato.media.image.transform import WHITE, Color
from sfumato.wording import brief, count, few

_NOT_READ = "there are conditioning images, which are not read: a recipe that denoises does, by condition.image=true"


def prepare(
    source: DataSource,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: Color = WHITE,
    conditioning: bool = False,
    progress: Callable[[int, int], None] | None = None,
    store: StoreMode = "auto",
    memory: int = 2 * 2**30,
    cache: str | Path | None = None,
) -> Dataset:
    """All data of a source, each decoded once and brought to one form.

    - `size`, in the medium's order, may be None if all data share one.
    - Of pictures: `channels` None means 1 if every one is grayscale, else 3; `fit` and `background` are those of
      `to_array`. With `conditioning`, the pictures that each is to be conditioned on are prepared as well: resized
      bilinearly to its size, and otherwise as it is.
    - `progress(done, of)` is called after each datum.
    - `store` is where the decoded data lie: in "memory"; in the file `cache` (.npy), written whole or not at all, as
      a "map"; or nowhere ("source"), so that each is decoded whenever it is needed, the latest `memory` bytes apart.
      "auto" takes the first of these that has room: `memory` bytes, then the disk of `cache`. Pictures count with 3
      channels when `channels` is None. The order and the data are the same in each. Conditioning images have half of
      the memory, and a file beside the cache (`conditioning_cache`).

    Broken data, and those whose conditioning image is broken or missing, are left out and named; the order of the rest
    does not change.

    Raises InputError for a wrong argument, for data that differ in size when no `size` is given, and where there are
    no conditioning images; DataError if no datum is left; StorageError if the cache cannot be written.
    """
    check_mode(store, cache)
    decoder = decoder_of(source.medium, size, channels, fit, background)
    beside = _conditioning(source) if conditioning else None
    n, share = len(source), memory if beside is None else memory // 2
    other = None if cache is None else conditioning_cache(Path(cache))
    with (
        Store(n, source.medium.noun, store, share, cache) as room,
        Store(n, "conditioning image", store, share, other) as second,
        closing(_decoded(source, decoder, beside)) as results,
    ):
        found = _Found(_Column(room), _Column(second))
        for i, datum in enumerate(results):
            if isinstance(datum, Skipped):
                found.skipped.append(datum)
            else:
                found.add(source, i, datum)
            if progress is not None:
                progress(i + 1, n)
        if not found.kept:
            raise DataError(_nothing_left(source.medium, found.skipped))
        medium, notes = decoder.conclude(found.traits)
        stored = found.data.finish(source, decoder, found.kept, medium.channels, share)
        second_stored = None
        if beside is not None:
            own = _conditioning_decoder(decoder, found.data.shape)
            second_stored = found.conditioning.finish(beside, own, found.kept, medium.channels, share)
    note = [_NOT_READ] if source.conditioning is not None and beside is None else []
    notes = [*_losses(source, found), *notes, *note, *filter(None, (room.note, second.note))]
    return _dataset(source, decoder, medium, found, stored, second_stored, notes)


@dataclass
class _Decoded:
    """A decoded datum, and the SHA-256 of what it was read from; and the same of what it is conditioned on."""

    stored: np.ndarray
    trait: Any
    contents: bytes
    conditioning: "_Decoded | None" = None


@dataclass
class _Column:
    """What is stored of the data so far: of themselves, or of what they are conditioned on."""

    room: Store
    contents: list[bytes] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))

    def add(self, datum: _Decoded) -> None:
        if not self.contents:
            self.shape, self.dtype = datum.stored.shape, datum.stored.dtype
        self.contents.append(datum.contents)
        self.room.add(datum.stored)

    def finish(self, source: DataSource, decoder: Decoder, kept: Sequence[int], channels: int, memory: int) -> Stored:
        stored = self.room.finish(channels)
        if stored is not None:
            return stored
        shape = (channels, *self.shape[1:]) if len(self.shape) > 1 else self.shape
        return OnDemand(source, decoder, kept, b"".join(self.contents), shape, self.dtype, memory)


@dataclass
class _Found:
    """The data decoded so far, and those left out."""

    data: _Column
    conditioning: _Column
    kept: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    traits: list[Any] = field(default_factory=list)

    def add(self, source: DataSource, i: int, datum: _Decoded) -> None:
        """Takes a datum in. Raises InputError if it is of another size than the first."""
        if self.kept and datum.stored.shape != self.data.shape:
            raise InputError(_sizes_differ(source, {self.kept[0]: self.data.shape, i: datum.stored.shape}))
        self.kept.append(i)
        self.data.add(datum)
        self.traits.append(datum.trait)
        if datum.conditioning is not None:
            self.conditioning.add(datum.conditioning)
            self.traits.append(datum.conditioning.trait)


def _conditioning(source: DataSource) -> DataSource:
    """The pictures that those of a source are conditioned on."""
    if source.conditioning is None:
        raise InputError(
            "conditioning: expected conditioning images, came none: put cat.conditioning.png beside cat.png, or a"
            " column `conditioning_image` into the Parquet file"
        )
    return source.conditioning


def _conditioning_decoder(decoder: Decoder, shape: tuple[int, ...]) -> Decoder:
    assert isinstance(decoder, PictureDecoder), "only pictures have conditioning images"
    return decoder.conditioning(size_of(shape))


def _decoded(source: DataSource, decoder: Decoder, beside: DataSource | None) -> Generator[_Decoded | Skipped]:
    """Every datum in order, decoded ahead in threads where that pays; with what it is `beside`, if anything."""

    def decode(i: int) -> _Decoded | Skipped:
        name = source.name(i)
        try:
            datum = _read(source, decoder, i)
            if beside is not None:
                datum.conditioning = _read(beside, _conditioning_decoder(decoder, datum.stored.shape), i)
            return datum
        except DataError as error:
            return Skipped(name, str(error).removeprefix(f"{brief(name)}: "))

    with quiet(), closing(in_order(decode, len(source))) as results:
        yield from results


def _read(source: DataSource, decoder: Decoder, i: int) -> _Decoded:
    kept = source.read(i)
    datum: Decoded = decoder(kept, source.name(i))
    return _Decoded(datum.stored, datum.trait, bytes.fromhex(sha256_of(kept)))


def _dataset(
    source: DataSource,
    decoder: Decoder,
    medium: Medium,
    found: _Found,
    stored: Stored,
    conditioning: Stored | None,
    notes: list[str],
) -> Dataset:
    settings = [stored.shape[1:], *decoder.settings, [one.name for one in found.skipped]]
    marks, contents = [source.fingerprint], found.data.contents
    if conditioning is not None and source.conditioning is not None:
        marks, contents = [*marks, source.conditioning.fingerprint], [*contents, *found.conditioning.contents]
    return Dataset(
        medium=medium,
        stored=stored,
        labels=np.array([source.label(i) for i in found.kept], dtype=np.int64) if source.classes else None,
        captions=tuple(source.captions(i) for i in found.kept),
        names=tuple(source.name(i) for i in found.kept),
        classes=source.classes,
        skipped=tuple(found.skipped),
        notes=(*source.notes, *notes),
        fingerprint=sha256_of(medium.plural, *marks, json.dumps(settings)),
        contents=sha256_of(*(digest.hex() for digest in contents)),
        conditioning=conditioning,
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
