"""Data in arrays: .npz files."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from sfumato.data.captions import MAX_CAPTIONS
from sfumato.data.decoder import Kept
from sfumato.data.npz import read_npz
from sfumato.data.sounds import sounds_of
from sfumato.data.table import MAX_CLASSES, TableSource, sha256_of
from sfumato.errors import DataError, InputError, ShapeError
from sfumato.media import Image, Medium
from sfumato.wording import brief, printable

_KEYS = {"picture": "images", "sound": "sounds"}
"""The arrays that hold the data of a medium, by its noun."""


def open_npz(path: str | Path, medium: Medium) -> TableSource:
    """The data of a .npz file, which holds

    - pictures: `images` (or `arr_0`), uint8 [n, h, w] or [n, h, w, c], c of 1, 3 or 4; or
    - sounds: `sounds` (or `arr_0`), int16 or floats in [−1, 1], [n, samples], and `rate`, their samples a second;
    - optionally `labels`: whole numbers [n], from 0;
    - `classes`: strings [k], the classes' names (without them, "0", "1", ...);
    - `captions`: strings [n] or, several a datum, [n, m], in which empty ones do not count.

    Nothing in it is ever unpickled. Raises DataError for an unreadable file or a wrong type, ShapeError for a wrong
    shape, InputError for another medium.
    """
    shown, stem = brief(str(path)), Path(path).stem
    if medium.noun not in _KEYS:
        raise InputError(
            f"{shown}: expected {medium.plural}, came a .npz, which holds pictures or sounds; name a folder"
        )
    arrays = read_npz(path, _KEYS[medium.noun], shown)
    if medium.noun == "sound":
        sounds = sounds_of(arrays["data"], arrays.get("rate"), shown)
        parts = (sounds.samples, str(sounds.rate))
        return _table(medium, sounds, parts, _Columns.of(arrays, medium, shown), stem, shown)
    images = arrays["data"]
    _check_images(images, shown)
    _check_single(images, arrays, shown)
    dark = "every value is 0 or 1, nearly black: multiply by 255 if 1 is white"
    notes = (dark,) if images.max() == 1 else ()
    return _pictures(images, replace(_Columns.of(arrays, medium, shown), notes=notes), stem, shown)


def from_arrays(
    images: np.ndarray,
    *,
    stem: str,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    where: str | None = None,
) -> TableSource:
    """A table of pictures from uint8 [n, h, w] or [n, h, w, c], named 'stem[i]'; `labels` are whole numbers [n].

    Classes without names are called "0", "1", ... up to the largest label. The fingerprint covers every byte. Raises
    DataError for a wrong type or value, ShapeError for a wrong shape, both naming `where`.
    """
    _check_images(images, where or stem)
    return _pictures(images, _Columns(labels, classes, None, notes), stem, where or stem)


@dataclass(frozen=True)
class _Columns:
    """What stands beside the data in arrays."""

    labels: np.ndarray | None
    classes: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...] | None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], medium: Medium, where: str) -> Self:
        """Those in a file's arrays, checked but for the labels."""
        names, captions = arrays.get("classes"), arrays.get("captions")
        classes, texts = _strings(where, len(arrays["data"]), names, captions, medium)
        return cls(arrays.get("labels"), classes, texts)


def _pictures(images: np.ndarray, beside: _Columns, stem: str, where: str) -> TableSource:
    single = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    return _table(Image(), single.__getitem__, (single,), beside, stem, where)


def _table(
    medium: Medium,
    read: Callable[[int], Kept],
    parts: tuple[np.ndarray | str, ...],
    beside: _Columns,
    stem: str,
    where: str,
) -> TableSource:
    """A table of what `read` gives; `parts` are all that it depends on, an array [n, ...] first."""
    n, classes = len(parts[0]), beside.classes
    if beside.labels is not None:
        classes = _check_labels(beside.labels, n, classes, where, medium)
    column = None if beside.labels is None else tuple(beside.labels.tolist())
    return TableSource(
        medium=medium,
        names=tuple(f"{printable(stem)}[{i}]" for i in range(n)),
        read=read,
        fingerprint=sha256_of("arrays", *parts, json.dumps([column, classes, beside.texts])),
        classes=classes if column is not None else (),
        labels=column,
        texts=beside.texts,
        notes=beside.notes,
    )


def _strings(
    where: str, n: int, names: np.ndarray | None, captions: np.ndarray | None, medium: Medium
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...] | None]:
    """The classes' names and the captions of n data, checked for type and shape."""
    for key, array in (("classes", names), ("captions", captions)):
        if array is not None and array.dtype.kind != "U":
            raise DataError(f"{where} '{key}': expected strings, came {array.dtype}; save them as str")
    if names is not None and (names.ndim != 1 or len(names) > MAX_CLASSES):
        most = f"(k,) with k at most {MAX_CLASSES}"
        raise ShapeError(f"{where} 'classes': expected the shape {most}, came {names.shape}; reshape it")
    classes = () if names is None else tuple(names.tolist())
    if captions is None:
        return classes, None
    rows = captions[:, None] if captions.ndim == 1 else captions
    if rows.ndim != 2 or len(rows) != n or rows.shape[1] > MAX_CAPTIONS:
        wanted = f"({n},) or ({n}, m) with m at most {MAX_CAPTIONS}"
        raise ShapeError(
            f"{where} 'captions': expected the shape {wanted}, came {captions.shape}; one row a {medium.noun}"
        )
    return classes, tuple(tuple(s for text in row if (s := text.strip())) for row in rows.tolist())


def _check_images(images: np.ndarray, where: str) -> None:
    shape, kinds = images.shape, "(n, h, w) or (n, h, w, c) with c of 1, 3 or 4"
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[3] not in (1, 3, 4)):
        hint = "transpose it by (0, 2, 3, 1)" if images.ndim == 4 and shape[1] in (1, 3, 4) else "reshape it"
        raise ShapeError(f"{where}: expected pictures of shape {kinds}, came {shape}; {hint}")
    if images.size == 0:
        raise DataError(f"{where}: expected at least one picture with a pixel, came the shape {shape}; add some")
    if images.dtype != np.uint8:
        hint = "(x * 255).round().astype('uint8') if x is 0 to 1, ((x + 1) * 127.5).round()... if -1 to 1"
        hints = {"f": hint, "b": "(x * 255).astype('uint8')"}
        remedy = hints.get(images.dtype.kind, "astype('uint8') if every value is 0 to 255")
        raise DataError(f"{where}: expected pictures of uint8, came {images.dtype}; convert by {remedy}")


def _check_single(images: np.ndarray, arrays: dict[str, np.ndarray], where: str) -> None:
    """Raises ShapeError for one RGB picture, which would be read as many thin grayscale ones."""
    counted = any(
        len(arrays[key]) == len(images) for key in ("labels", "captions") if key in arrays and arrays[key].ndim
    )
    if images.ndim == 3 and images.shape[2] in (3, 4) and not counted:
        came = f"came {images.shape}, which is one RGB picture or {len(images):,} grayscale ones"
        hint = "save images[None] for the first, images[..., None] for the second"
        raise ShapeError(f"{where}: expected pictures of shape (n, h, w, c), {came}; {hint}")


def _check_labels(labels: np.ndarray, n: int, classes: tuple[str, ...], where: str, medium: Medium) -> tuple[str, ...]:
    """The classes' names, made up if there are none."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: expected whole numbers as labels, came {labels.dtype}; convert to int64")
    if labels.shape != (n,):
        raise ShapeError(
            f"{where}: expected labels of shape ({n},), one a {medium.noun}, came {labels.shape}; reshape them"
        )
    low, high, most = int(labels.min()), int(labels.max()), len(classes) or MAX_CLASSES
    if low < 0 or high >= most:
        raise DataError(f"{where}: expected labels 0 to {most - 1}, came {low} to {high}; number classes from 0")
    return classes or tuple(str(i) for i in range(high + 1))
