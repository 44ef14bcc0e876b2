"""From a source to the pictures that training reads: each decoded once, in order, the broken ones left out."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfumato.data.dataset import Dataset, Skipped
from sfumato.data.parallel import in_order
from sfumato.data.source import DataSource
from sfumato.data.store import Store
from sfumato.data.table import picture, sha256_of
from sfumato.errors import DataError, InputError
from sfumato.media.image.transform import (
    WHITE,
    Color,
    Fit,
    Size,
    check_transform,
    deepest,
    is_grayscale,
    to_array,
)
from sfumato.wording import brief, count, few

_Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Decoded:
    stored: _Pixels
    grayscale: bool
    digest: str
    deepest: int | None


def prepare(
    source: DataSource,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    background: Color = WHITE,
    progress: Callable[[int, int], None] | None = None,
    memory: int = 2 * 2**30,
    cache: str | Path | None = None,
) -> Dataset:
    """All pictures of a source, decoded once each and brought to one form by `to_array`.

    `size` (width, height) may be None if all pictures share one; `channels` None means 1 if every picture is grey,
    else 3. Pixels that may need more than `memory` bytes (counted with 3 channels, when it is None) go to the file
    `cache` (.npy), which is written whole or not at all, and are mapped from there. `progress(done, of)` is called
    after each picture.

    Broken pictures are left out and named; the order of the rest does not change.

    Raises InputError for a wrong argument, for pictures that differ in size when no `size` is given and for pixels
    that fit neither memory nor cache; DataError if no picture is left; StorageError if the cache cannot be written.
    """
    check_transform((1, 1) if size is None else size, 3 if channels is None else channels, fit, background)

    def work(i: int) -> _Decoded | Skipped:
        try:
            data = source.read(i)
            image = picture(data, source.name(i))
            target, depth = size or image.size, channels or 3
            pixels = to_array(image, size=target, channels=depth, fit=fit, background=background)
            return _Decoded(pixels, is_grayscale(image, background), sha256_of(data), deepest(image))
        except DataError as error:
            return Skipped(source.name(i), str(error).removeprefix(f"{brief(source.name(i))}: "))

    n = len(source)
    kept: list[int] = []
    skipped: list[Skipped] = []
    first_of: dict[tuple[int, ...], int] = {}
    contents: list[str] = []
    deep: list[int] = []
    grayscale = True
    with Store(n, memory, cache) as store, closing(in_order(work, n)) as results, warnings.catch_warnings():
        # Here and not in each thread: the filters are one list for the whole process.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for i, result in enumerate(results):
            if isinstance(result, Skipped):
                skipped.append(result)
            else:
                first_of.setdefault(result.stored.shape, i)
                if len(first_of) > 1:
                    raise InputError(_sizes_differ(source, first_of))
                store.add(result.stored)
                kept.append(i)
                contents.append(result.digest)
                deep.extend([] if result.deepest is None else [result.deepest])
                grayscale = grayscale and result.grayscale
            if progress is not None:
                progress(i + 1, n)
        if not kept:
            raise DataError(_nothing_left(skipped))
        pixels = store.finish(channels or (1 if grayscale else 3))

    settings = [pixels.shape[1:], fit, background, [one.name for one in skipped]]
    return Dataset(
        stored=pixels,
        labels=np.array([source.label(i) for i in kept], dtype=np.int64) if source.classes else None,
        captions=tuple(source.captions(i) for i in kept),
        names=tuple(source.name(i) for i in kept),
        classes=source.classes,
        skipped=tuple(skipped),
        notes=(*source.notes, *_losses(source, kept, skipped), *_darkness(deep)),
        fingerprint=sha256_of("pictures", source.fingerprint, json.dumps(settings)),
        contents=sha256_of(*contents),
    )


def _sizes_differ(source: DataSource, first_of: dict[tuple[int, ...], int]) -> str:
    sizes = (f"{brief(source.name(i))} is {shape[2]}x{shape[1]}" for shape, i in first_of.items())
    return f"size: expected (width, height), since the pictures differ ({', '.join(sizes)}), came None; give size"


def _nothing_left(skipped: list[Skipped]) -> str:
    reasons = "; ".join(f"{brief(one.name)}: {one.reason}" for one in skipped[:3]) or "the source is empty"
    return f"expected pictures, came none of {len(skipped):,} that can be used ({reasons}); mend or replace them"


def _losses(source: DataSource, kept: list[int], skipped: list[Skipped]) -> Iterator[str]:
    """Notes on what was left out."""
    if skipped:
        verb = "was" if len(skipped) == 1 else "were"
        named = few([one.name for one in skipped])
        yield f"{len(skipped):,} of {count(len(source), 'picture')} {verb} left out as broken: {named}"
    left = {source.label(i) for i in kept}
    gone = [name for label, name in enumerate(source.classes) if label not in left]
    if gone:
        yield f"no picture is left of {few(gone)}"


def _darkness(deepest: list[int]) -> Iterator[str]:
    """A note on pictures of 16 bits that use none of the upper four, as those of a camera's 12 bits do."""
    if deepest and max(deepest) < 2**12:
        what = (
            f"{count(len(deepest), 'picture')} of 16 bits, all below 1/16 of white (at most {max(deepest):,} of 65,535)"
        )
        yield f"{what}: nearly black; scale them if white is less"
