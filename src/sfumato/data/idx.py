"""Pictures in IDX files, the format of MNIST and its family (LeCun, Cortes and Burges, 1998)."""

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from sfumato.data.arrays import from_arrays
from sfumato.data.table import TableSource
from sfumato.errors import DataError, InputError
from sfumato.wording import QUOTED, brief, few, printable, shortened

_IMAGES = re.compile(r"images[-.]idx3-ubyte(\.gz)?$")
_UNSIGNED_BYTE = 0x08
_MAX_BYTES = 2**32
_DEFLATE_RATIO = 1032  # the most that Deflate can expand by

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def is_idx(path: str | Path) -> bool:
    """Whether the path is named as IDX pictures are: ...images-idx3-ubyte, with or without .gz."""
    return _IMAGES.search(str(path)) is not None


def find_idx(folder: str | Path) -> Path | None:
    """The IDX pictures in a folder: the training split, or the only file there is; None if there is none.

    Raises InputError if there are several and none is called train-images-...
    """
    found = {name: Path(folder) / name for name in sorted(os.listdir(folder)) if is_idx(name)}
    found = {name: path for name, path in found.items() if path.is_file()}  # opening a pipe would wait
    train = [path for name, path in found.items() if name.startswith("train-images")]
    if not train and len(found) > 1:
        raise InputError(f"{brief(str(folder))}: expected one file of pictures, came {few([*found])}; name one")
    return next(iter(train or found.values()), None)


def open_idx(path: str | Path) -> TableSource:
    """The pictures of an IDX file, with the labels file beside it, if there is one.

    The ten classes are Fashion-MNIST's if the file's name or one of the two folders above says 'fashion', else "0" to
    "9", or on to the largest label. Raises DataError if a file is cut, too long or not IDX.
    """
    path = Path(path)
    images = _read(path, 3)
    labels, notes = None, ()
    beside = _labels_path(path)
    if beside.is_file():
        labels = _read(beside, 1)
    else:
        notes = (f"no labels: {printable(beside.name)} is not beside the pictures",)
    few_labels = labels is None or labels.max(initial=0) <= 9
    fashion = any("fashion" in part.lower() for part in path.absolute().parts[-3:])
    classes = () if not few_labels else FASHION if fashion else tuple("0123456789")
    stem = path.name.removesuffix(".gz")
    return from_arrays(images, stem=stem, labels=labels, classes=classes, notes=notes, where=brief(str(path)))


def _labels_path(path: Path) -> Path:
    """Where the labels of these pictures should be: compressed as they are, or else not."""
    name = re.sub(r"images([-.])idx3-", r"labels\1idx1-", path.name)
    same = path.with_name(name)
    other = path.with_name(name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz")
    return other if other.is_file() and not same.is_file() else same


def _read(path: Path, axes: int) -> np.ndarray:
    shown = brief(str(path))
    packed = path.suffix == ".gz"
    try:
        room = path.stat().st_size * (_DEFLATE_RATIO if packed else 1)
        with cast(BinaryIO, gzip.open(path) if packed else path.open("rb")) as stream:
            shape = _shape(stream.read(4 + 4 * axes), axes, shown)
            promised = math.prod(shape)
            # Checked before reading, since reading sets aside what it is asked for.
            data = stream.read(promised + 1) if promised <= min(room, _MAX_BYTES) else b""
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{shown}: expected a whole file, came damaged data ({shortened(str(error), QUOTED)}); fetch it again"
        ) from error
    if len(data) != promised:
        came = "more" if len(data) > promised else "fewer"
        raise DataError(f"{shown}: expected {promised:,} bytes after the header, came {came}; fetch it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _shape(header: bytes, axes: int, shown: str) -> tuple[int, ...]:
    magic = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if len(header) != 4 + 4 * axes or header[:4] != magic:
        raise DataError(f"{shown}: expected an IDX header {magic.hex()}, came {header[:4].hex()!r}; fetch it again")
    return struct.unpack(f">{axes}I", header[4:])
