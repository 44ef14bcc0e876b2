"""Where data come from: one function that opens every kind of source."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sfumato.data.archive import open_archives
from sfumato.data.arrays import open_npz
from sfumato.data.decoder import Kept
from sfumato.data.digits import open_digits
from sfumato.data.folder import open_data_folder
from sfumato.data.hub import HUB_PREFIX, open_hub
from sfumato.data.idx import find_idx, is_idx, open_idx
from sfumato.data.parquet import open_parquet
from sfumato.data.shards import find_shards
from sfumato.data.table import TableSource, mended
from sfumato.errors import InputError, NotFoundError, nearest, quoted
from sfumato.media import Image, Medium
from sfumato.wording import brief

NAMED: dict[str, Callable[[], TableSource]] = {"digits": open_digits}
"""The data sets that ship."""
SINGLE: dict[str, Callable[[str | Path, Medium], TableSource]] = {".npz": open_npz}
"""What opens a file of an ending."""
SHARDS: dict[str, Callable[[Sequence[str | Path], Medium, str, Sequence[str]], TableSource]] = {
    ".parquet": open_parquet,
    ".zip": open_archives,
}
"""What opens a file of an ending, or the many of a folder, given their medium, their place for messages, and notes."""
_PICTURES = Image()


class DataSource(Protocol):
    """n data of one medium in a fixed order, each read when asked for, from any thread and in any process that the
    source is sent to."""

    @property
    def medium(self) -> Medium: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names in the order of their labels; empty if the data have none."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Findings about the data for the user, a line each."""
        ...

    @property
    def conditioning(self) -> "DataSource | None":
        """The pictures that a network is to be conditioned on, one a datum, in the same order; None without any."""
        ...

    @property
    def fingerprint(self) -> str:
        """A SHA-256 by which a resumed run sees that the data changed."""
        ...

    def __len__(self) -> int: ...

    def read(self, i: int, /) -> Kept:
        """Datum i as it is kept: an encoded file's bytes, or numbers. Raises DataError, naming it, if it is lost."""
        ...

    def label(self, i: int) -> int | None:
        """The place of datum i's class in `classes`; None exactly if there are no classes."""
        ...

    def captions(self, i: int) -> tuple[str, ...]:
        """The captions of datum i: none, one or several."""
        ...

    def name(self, i: int) -> str:
        """The name of datum i in messages."""
        ...


def open_source(where: str | Path, medium: Medium = _PICTURES) -> DataSource:
    """The medium's data at a path, or of a data set that ships (`NAMED`): 'digits'.

    A path is a folder of files of the medium's `endings`, a .zip of one, a .npz, a Parquet file, an IDX file, or a
    folder of .zip, of Parquet or of IDX files (whose training split is taken). IDX files and named data sets hold
    pictures. A string that is the name of a data set means that; write './digits' for a folder of that name. A string
    that begins with 'hub:' is a data set on the Hugging Face Hub: see `open_hub`.

    Text that is no Unicode, in classes and captions, is mended and noted: see `mended`. Raises InputError for anything
    else and for another medium than the data's, DataError for data that cannot be read.
    """
    table = _open(where, medium)
    if table.medium.noun != medium.noun:
        raise InputError(f"{brief(str(where))}: expected {medium.plural}, came {table.medium.plural}; name other data")
    return mended(table, str(where))


def _open(where: str | Path, medium: Medium) -> TableSource:
    if isinstance(where, str) and where in NAMED:
        return NAMED[where]()
    if isinstance(where, str) and where.startswith(HUB_PREFIX):
        return open_hub(where, medium)
    if not isinstance(where, str | Path) or not str(where):
        raise InputError(f"expected {_kinds(medium)}, came {quoted(where)}")
    if os.path.isdir(where):
        return _open_directory(where, medium)
    if os.path.isfile(where):
        return _open_file(where, medium)
    kind, came = (
        (InputError, "is neither file nor folder") if os.path.exists(where) else (NotFoundError, "does not exist")
    )
    name = brief(str(where))
    raise kind(f"expected {_kinds(medium)}, came {name!r}, which {came}; {nearest(name, NAMED)}")


def _open_directory(where: str | Path, medium: Medium) -> TableSource:
    try:
        idx = find_idx(where)
        searches = () if idx else ((open_files, *find_shards(where, medium, e)) for e, open_files in SHARDS.items())
        found = next((one for one in searches if one[1]), None)
    except OSError as error:
        raise InputError(f"{brief(str(where))}: expected a folder to read, came {error.strerror}") from error
    if idx is not None:
        return open_idx(idx)
    if found is None:
        return open_data_folder(where, medium)
    open_files, paths, notes = found
    return open_files(paths, medium, str(where), notes)


def _open_file(where: str | Path, medium: Medium) -> TableSource:
    ending = os.path.splitext(where)[1].lower()
    if ending in SINGLE:
        return SINGLE[ending](where, medium)
    if ending in SHARDS:
        return SHARDS[ending]([where], medium, str(where), ())
    if is_idx(where):
        return open_idx(where)
    raise InputError(f"expected {_kinds(medium)}, came a file of another kind: {brief(str(where))}")


def _kinds(medium: Medium) -> str:
    return (
        f"a folder of {medium.plural}, a .zip of one, a .npz, a .parquet, an IDX file (...images-idx3-ubyte[.gz]), "
        "hub:OWNER/NAME or a name"
    )
