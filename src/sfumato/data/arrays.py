"""Pictures in arrays: .npz files."""

import json
import math
import sys
import zipfile
from pathlib import Path

import numpy as np

from sfumato.data.archive import open_member, open_zip
from sfumato.data.captions import MAX_CAPTIONS
from sfumato.data.table import MAX_CLASSES, TableSource, sha256_of
from sfumato.errors import DataError, ShapeError
from sfumato.wording import QUOTED, brief, few, printable, shortened

MAX_ARRAY_BYTES = 2**34


def open_npz(path: str | Path) -> TableSource:
    """The pictures of a .npz file, which holds

    - `images` (or `arr_0`): uint8 [n, h, w] or [n, h, w, c], c of 1, 3 or 4;
    - `labels`, if it likes: whole numbers [n], from 0;
    - `classes`: strings [k], the classes' names (without them, "0", "1", ...);
    - `captions`: strings [n] or, several a picture, [n, m], in which empty ones do not count.

    Nothing in it is ever unpickled. Raises DataError for an unreadable file or a wrong type, ShapeError for a wrong
    shape.
    """
    shown = brief(str(path))
    with open_zip(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        key = "images" if "images" in members else "arr_0"
        if key not in members:
            raise DataError(f"{shown}: expected an array 'images', came {few(sorted(members)) or 'none'}; rename it")
        wanted = (key, "labels", "classes", "captions")
        arrays = {name: _read(archive, members[name], f"{shown} '{name}'") for name in wanted if name in members}
    images = arrays[key]
    _check_images(images, shown)
    _check_single(images, arrays, shown)
    classes, texts = _strings(shown, len(images), arrays.get("classes"), arrays.get("captions"))
    labels = arrays.get("labels")
    dark = "every value is 0 or 1, nearly black: multiply by 255 if 1 is white"
    notes = (dark,) if images.max() == 1 else ()
    stem = Path(path).stem
    return from_arrays(images, stem=stem, labels=labels, classes=classes, texts=texts, notes=notes, where=shown)


def from_arrays(
    images: np.ndarray,
    *,
    stem: str,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    texts: tuple[tuple[str, ...], ...] | None = None,
    notes: tuple[str, ...] = (),
    where: str | None = None,
) -> TableSource:
    """A table of pictures from uint8 [n, h, w] or [n, h, w, c], named 'stem[i]'; `labels` are whole numbers [n].

    Classes without names are called "0", "1", ... up to the largest label. The fingerprint covers every byte. Raises
    DataError for a wrong type or value, ShapeError for a wrong shape, both naming `where`.
    """
    where = where or stem
    _check_images(images, where)
    if labels is not None:
        classes = _check_labels(labels, len(images), classes, where)
    single = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    column = None if labels is None else tuple(labels.tolist())
    return TableSource(
        names=tuple(f"{printable(stem)}[{i}]" for i in range(len(images))),
        read=lambda i: single[i],
        fingerprint=sha256_of("arrays", single, json.dumps([column, classes, texts])),
        classes=classes if column is not None else (),
        labels=column,
        texts=texts,
        notes=notes,
    )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: str) -> np.ndarray:
    try:
        with open_member(archive, info, MAX_ARRAY_BYTES) as stream:
            return _array(stream, info.file_size)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except Exception as error:  # numpy, zipfile and zlib raise many kinds on broken bytes
        came = f"came damaged data ({shortened(str(error), QUOTED)})"
        raise DataError(f"{place}: expected a whole array, {came}; save it again") from error


def _array(stream: zipfile.ZipExtFile, size: int) -> np.ndarray:
    """An array of plain values in a .npy of `size` bytes: room is made for no more than these."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = header(stream)
    if kind.hasobject:
        refused = "expected plain numbers or strings, came Python objects, which could run code"
        raise DataError(f"{refused}; save it with a uint8, integer or string dtype")
    needed = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or needed > size:
        raise ValueError(f"{size:,} bytes where the shape needs {brief(f'{needed:,}')}")
    data = stream.read(needed)
    if stream.read(1):  # also has the member's sum checked
        raise ValueError("more bytes than the shape needs")
    array = np.frombuffer(data, dtype=kind) if needed else np.empty(shape, dtype=kind)
    if (
        array.dtype.kind == "U"
        and array.size
        and int(array.view(f"{kind.byteorder}u4").max(initial=0)) > sys.maxunicode
    ):
        raise ValueError("numbers that are no characters")
    return array.reshape(shape, order="F" if by_columns else "C")


def _strings(
    where: str, n: int, names: np.ndarray | None, captions: np.ndarray | None
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...] | None]:
    """The classes' names and the captions of n pictures, checked for type and shape."""
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
        raise ShapeError(f"{where} 'captions': expected the shape {wanted}, came {captions.shape}; one row a picture")
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
    """Raises ShapeError for one picture in colour, which would be read as many thin grey ones."""
    counted = any(
        len(arrays[key]) == len(images) for key in ("labels", "captions") if key in arrays and arrays[key].ndim
    )
    if images.ndim == 3 and images.shape[2] in (3, 4) and not counted:
        came = f"came {images.shape}, which is one picture in colour or {len(images):,} grey ones"
        hint = "save images[None] for the first, images[..., None] for the second"
        raise ShapeError(f"{where}: expected pictures of shape (n, h, w, c), {came}; {hint}")


def _check_labels(labels: np.ndarray, n: int, classes: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The classes' names, made up if there are none."""
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: expected whole numbers as labels, came {labels.dtype}; convert to int64")
    if labels.shape != (n,):
        raise ShapeError(f"{where}: expected labels of shape ({n},), one a picture, came {labels.shape}; reshape them")
    low, high, most = int(labels.min()), int(labels.max()), len(classes) or MAX_CLASSES
    if low < 0 or high >= most:
        raise DataError(f"{where}: expected labels 0 to {most - 1}, came {low} to {high}; number classes from 0")
    return classes or tuple(str(i) for i in range(high + 1))
