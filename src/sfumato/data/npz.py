"""Arrays in .npz files, read without trusting them."""

import math
import sys
import zipfile
from pathlib import Path

import numpy as np

from sfumato.data.archive import open_member, open_zip
from sfumato.errors import DataError
from sfumato.wording import QUOTED, brief, few, shortened

MAX_ARRAY_BYTES = 2**34


def read_npz(path: str | Path, named: str, shown: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file that are read, the data's, called `named` or `arr_0` there, as "data".

    Nothing is unpickled, and no array may take more than `MAX_ARRAY_BYTES`. Raises DataError, calling the file `shown`.
    """
    with open_zip(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        key = named if named in members else "arr_0"
        if key not in members:
            raise DataError(f"{shown}: expected an array '{named}', came {few(sorted(members)) or 'none'}; rename it")
        wanted = {"data": key} | {name: name for name in ("rate", "labels", "classes", "captions") if name in members}
        return {own: _read(path, members[name], f"{shown} '{name}'") for own, name in wanted.items()}


def _read(path: str | Path, info: zipfile.ZipInfo, place: str) -> np.ndarray:
    try:
        with open_member(path, info, MAX_ARRAY_BYTES) as stream:
            return _array(stream, info.file_size)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except Exception as error:  # numpy, zipfile and zlib raise many kinds on broken bytes
        came = f"came damaged data ({shortened(str(error), QUOTED)})"
        raise DataError(f"{place}: expected a whole array, {came}; save it again") from error


def _array(stream: zipfile.ZipExtFile, size: int) -> np.ndarray:
    """An array of plain values in a .npy of `size` bytes: no more memory than these is taken."""
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
