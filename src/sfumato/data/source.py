"""Where pictures come from: one door for every kind of data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PIL import Image

from sfumato.data.archive import open_archive
from sfumato.data.arrays import open_npz
from sfumato.data.digits import open_digits
from sfumato.data.folder import open_folder
from sfumato.data.hub import HUB_PREFIX, open_hub
from sfumato.data.idx import find_idx, is_idx, open_idx
from sfumato.data.parquet import find_parquet, is_parquet, open_parquet
from sfumato.data.table import Kept, TableSource, mended
from sfumato.errors import InputError, nearest, quoted
from sfumato.wording import brief

NAMED: dict[str, Callable[[], TableSource]] = {"digits": open_digits}
_KINDS = (
    "a folder of pictures, a .zip of one, a .npz, a .parquet, an IDX file (...images-idx3-ubyte[.gz]), "
    "hub:OWNER/NAME or a name"
)


class DataSource(Protocol):
    """n pictures in a fixed order, each read when asked for, from any thread."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names in the order of their labels; empty if the pictures have none."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the data, a line each."""
        ...

    @property
    def fingerprint(self) -> str:
        """A SHA-256 by which a resumed run sees that the data changed."""
        ...

    def __len__(self) -> int: ...

    def read(self, i: int, /) -> Kept:
        """Picture i as it is kept: an encoded file's bytes, or pixels. Raises DataError, naming it, if it is lost."""
        ...

    def image(self, i: int) -> Image.Image:
        """Picture i, decoded in full. Raises DataError, naming it, if it is broken."""
        ...

    def label(self, i: int) -> int | None:
        """The index of picture i's class in `classes`; None exactly if there are no classes."""
        ...

    def captions(self, i: int) -> tuple[str, ...]:
        """The captions of picture i: none, one or several."""
        ...

    def name(self, i: int) -> str:
        """What to call picture i in a message."""
        ...


def open_source(where: str | Path) -> DataSource:
    """The pictures at a path, or of a data set that ships (`NAMED`): 'digits'.

    A path is a folder of pictures, a .zip of one, a .npz, a Parquet file, an IDX file, or a folder of Parquet or of IDX
    files (whose training split is taken). A string that is the name of a data set means that; write './digits' for a
    folder of that name. A string that begins with 'hub:' is a data set on the Hugging Face Hub: see `open_hub`.

    Text that is no Unicode, in classes and captions, is mended and noted: see `mended`. Raises InputError for what is
    none of these, DataError for data that cannot be read.
    """
    return mended(_open(where), str(where))


def _open(where: str | Path) -> TableSource:
    if isinstance(where, str) and where in NAMED:
        return NAMED[where]()
    if isinstance(where, str) and where.startswith(HUB_PREFIX):
        return open_hub(where)
    if not isinstance(where, str | Path) or not str(where):
        raise InputError(f"expected {_KINDS}, came {quoted(where)}")
    if os.path.isdir(where):
        return _open_directory(where)
    if os.path.isfile(where):
        return _open_file(where)
    came = "is neither file nor folder" if os.path.exists(where) else "does not exist"
    name = brief(str(where))
    raise InputError(f"expected {_KINDS}, came {name!r}, which {came}; {nearest(name, NAMED)}")


def _open_directory(where: str | Path) -> TableSource:
    try:
        pictures = find_idx(where)
        tables, notes = find_parquet(where)
    except OSError as error:
        raise InputError(f"{brief(str(where))}: expected a folder to read, came {error.strerror}") from error
    if pictures is not None:
        return open_idx(pictures)
    return open_parquet(tables, notes) if tables else open_folder(where)


def _open_file(where: str | Path) -> TableSource:
    ending = os.path.splitext(where)[1].lower()
    if ending == ".zip":
        return open_archive(where)
    if ending == ".npz":
        return open_npz(where)
    if is_parquet(where):
        return open_parquet([where])
    if is_idx(where):
        return open_idx(where)
    raise InputError(f"expected {_KINDS}, came a file of another kind: {brief(str(where))}")
