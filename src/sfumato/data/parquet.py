"""Data in Parquet files: a column of encoded data beside their labels and captions, as on the Hugging Face Hub."""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from sfumato.data.columns import (
    Columns,
    agrees,
    cells,
    choose_columns,
    class_names,
    conditioning_names,
    interpret_columns,
    kept_in,
    kind_of,
)
from sfumato.data.decoder import Kept
from sfumato.data.process import OfProcess, Recent
from sfumato.data.table import TableSource, repr_chunks, sha256_of
from sfumato.errors import DataError
from sfumato.extras import import_extra
from sfumato.media import Medium
from sfumato.media.image.decode import POINTER, is_pointer
from sfumato.wording import QUOTED, amount, brief, printable, shortened

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import FileMetaData

MAX_GROUP_BYTES = 2**32
MAX_TEXT_BYTES = 2**28
HELD_BYTES = 2**28
_ROWS = 2**16  # read at a time
# Groups of rows in memory at least: two, so that threads which work across a border do not read both again and again.
_HELD = 2


def open_parquet(paths: Sequence[str | Path], medium: Medium, where: str, notes: Sequence[str] = ()) -> TableSource:
    """The data in Parquet files of the same columns, in the order of their rows; see
    `choose_columns` for those that are read.

    The columns are the same if they mean the same: Arrow's spellings of a text or a whole number, a column that is null
    throughout, and an order of columns do not count. A datum without a name of its own is called 'file.parquet[row]'.
    Data stay in their files, encoded, until they are asked for. Then their group of rows is read, one file open at a
    time; the groups used last are held, two or as many as take `HELD_BYTES`: in another order than that of the rows,
    small groups are read fastest. The fingerprint covers captions, labels, and each file's size and footer (which holds
    place and size of every column in every group), not the data's bytes.

    Raises InputError if pyarrow is not installed; DataError, naming the file, for one that is damaged, that has no
    column of data or other columns than the first file, or whose groups or texts are too large to hold.
    """
    import_extra("pyarrow", "parquet", brief(where))
    files = [_open(path) for path in paths]
    columns = choose_columns([file.schema for file in files], files[0].shown, medium)
    for file in files:
        _check_columns(file, columns, files[0])
        _check_groups(file)
    names = [f"{printable(file.path.name)}[{i}]" for file in files for i in range(sum(file.groups))]
    values: dict[str, list[Any]] = {column: [] for column in columns.described}
    for file in files:
        _describe(file, values)
    own = interpret_columns(columns, values, names, files[0].shown, medium)
    footprints = ("parquet", *(file.footprint for file in files))
    return TableSource(
        medium=medium,
        names=own.names,
        read=_Cells(tuple(files), columns.data, own.names, medium),
        fingerprint=sha256_of(*footprints, repr_chunks(own.labels, texts=own.texts)),
        classes=own.classes,
        labels=own.labels,
        texts=own.texts,
        notes=(*notes, *own.notes),
        conditioning=_conditioning(files, columns.conditioning, own.names, medium, footprints),
    )


def _conditioning(
    files: "Sequence[_File]", column: str | None, names: Sequence[str], medium: Medium, footprints: Sequence[str]
) -> TableSource | None:
    """The conditioning images of data of these names, if there is a column of them."""
    if column is None:
        return None
    own = conditioning_names(names)
    return TableSource(medium, own, _Cells(files, column, own, medium), sha256_of(*footprints, column))


@dataclass(frozen=True)
class _File:
    """The footer of a Parquet file. `groups` holds the number of rows of each group."""

    path: Path
    metadata: "FileMetaData"
    schema: "pyarrow.Schema"
    groups: tuple[int, ...]
    footprint: str

    @property
    def shown(self) -> str:
        return brief(str(self.path))


class _Cells:
    """The data in one column by row, over all files; a group is read when one of its rows is, from any thread, and anew
    in every process."""

    def __init__(self, files: Sequence[_File], column: str, names: Sequence[str], medium: Medium) -> None:
        self._files, self._column, self._names, self._medium = files, column, names, medium
        self._groups = [(file, g) for file in files for g in range(len(file.groups))]
        self._starts = [0, *accumulate(rows for file in files for rows in file.groups)]
        self._held: OfProcess[_Held] = OfProcess(_Held)

    def __call__(self, i: int) -> Kept:
        group = bisect_right(self._starts, i) - 1
        file, number = self._groups[group]
        with self._held().lock, _whole(file.shown):
            rows = self._held().groups.get(group)
            if rows is None:
                rows = _read_group(file, number, self._column)
                self._held().groups.put(group, rows, rows.nbytes)
            cell = rows[i - self._starts[group]].as_py()
        return kept_in(cell, self._names[i], self._medium)


class _Held:
    """Groups of rows of one process, and the lock by which one thread at a time reads another."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.groups: Recent[pyarrow.ChunkedArray] = Recent(HELD_BYTES, _HELD)


def _open(path: str | Path) -> _File:
    from pyarrow.parquet import ParquetFile

    shown = brief(str(path))
    with _whole(shown), open(path, "rb") as stream:
        if is_pointer(stream.read(QUOTED)):
            raise DataError(f"{shown}: expected a Parquet file, came {POINTER}")
        with ParquetFile(path) as file:
            metadata = file.metadata
            size = os.fstat(stream.fileno()).st_size
            stream.seek(-min(size, metadata.serialized_size + 8), os.SEEK_END)
            footer = hashlib.sha256(stream.read()).hexdigest()
            groups = tuple(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))
            return _File(Path(path), metadata, file.schema_arrow, groups, f"{size} {footer}")


def _check_columns(file: _File, columns: Columns, first: _File) -> None:
    """Raises DataError unless the file has the columns and classes of the first one."""
    beside = printable(first.path.name)
    for name in (*columns.encoded, *columns.described):
        kind = kind_of(file.schema, name)
        if not agrees(kind, columns.kinds[name]):
            wanted = f"expected a column '{name}' of {brief(str(columns.kinds[name]))}, as in {beside}"
            came = "none" if kind is None else brief(str(kind))
            raise DataError(f"{file.shown}: {wanted}, came {came}; convert it or take it out")
    if columns.classes and class_names(file.schema, columns.label or "") not in ((), columns.classes):
        raise DataError(f"{file.shown}: expected the classes of {beside}, came others; convert one")


def _check_groups(file: _File) -> None:
    """Raises DataError unless every group can be held and there can be as many rows as the footer says."""
    for g in range(len(file.groups)):
        # Not by columns: of a damaged one, pyarrow ends the process when it is asked for its size.
        size = file.metadata.row_group(g).total_byte_size
        if size > MAX_GROUP_BYTES:
            wanted = f"expected at most {amount(MAX_GROUP_BYTES)} in a group of rows"
            raise DataError(f"{file.shown}: {wanted}, came {amount(size)}; write it with a smaller row_group_size")
    if sum(file.groups) > os.path.getsize(file.path):
        raise DataError(f"{file.shown}: expected a byte a row at least, came {sum(file.groups):,} rows; fetch it again")


def _describe(file: _File, values: dict[str, list[Any]]) -> None:
    """Adds what all columns but the data's hold. Texts that stand there again and again are held once."""
    from pyarrow.parquet import ParquetFile

    schema = file.metadata.schema
    leaves = [schema.column(i) for i in range(len(schema))]
    texts = [leaf.path for leaf in leaves if leaf.path in values and leaf.physical_type == "BYTE_ARRAY"]
    size = rows = 0
    with _whole(file.shown), ParquetFile(file.path, metadata=file.metadata, read_dictionary=texts) as opened:
        for batch in opened.iter_batches(_ROWS, columns=[*values]) if values else ():
            size, rows = size + batch.nbytes, rows + len(batch)
            for name, column in values.items():
                new = cells(batch.column(name))
                size += sum(len(one) for one in new if isinstance(one, str))
                column.extend(new)
            if size > MAX_TEXT_BYTES:
                raise DataError(f"{file.shown}: expected at most {amount(MAX_TEXT_BYTES)} of text, came more; split it")
        if values and rows != sum(file.groups):
            raise ValueError(f"{rows:,} rows of {sum(file.groups):,}")


def _read_group(file: _File, number: int, column: str) -> "pyarrow.ChunkedArray":
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file.path, metadata=file.metadata) as opened:
        return opened.read_row_group(number, [column], use_threads=False).column(column)


@contextmanager
def _whole(shown: str) -> Iterator[None]:
    """Turns every error in reading a file into a DataError that calls the file damaged."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pyarrow raises many kinds on broken bytes
        detail = shortened(str(error), QUOTED)
        raise DataError(
            f"{shown}: expected a whole Parquet file, came damaged data ({detail}); fetch it again"
        ) from error
