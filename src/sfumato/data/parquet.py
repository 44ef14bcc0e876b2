"""Pictures in Parquet files: a column of encoded pictures beside what is known of each, as on the Hugging Face Hub."""

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

from sfumato.data.columns import Columns, choose, class_names, describe, encoded, needed
from sfumato.data.table import Table, digest
from sfumato.errors import DataError
from sfumato.wording import amount, count, few, printable

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import FileMetaData

MAX_GROUP_BYTES = 2**32
# Groups of rows in memory: two, so that threads which work across a border do not read both again and again.
_HELD = 2


def is_parquet(path: str | Path) -> bool:
    """Whether the path is named as a Parquet file."""
    return os.path.splitext(path)[1].lower() == ".parquet"


def find_parquet(folder: str | Path) -> tuple[list[Path], tuple[str, ...]]:
    """The Parquet files of a folder that holds nothing else, in order of their names, and what to note of them.

    If any is called train..., as a training split is, only those are taken, and the others are named in a note. Hidden
    files do not count.
    """
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if not all(is_parquet(name) for name in names):
        return [], ()
    taken = [name for name in names if name.lower().startswith("train")] or names
    others = [name for name in names if name not in taken]
    notes = (f"{count(len(others), 'file')} beside the training split passed over: {few(others)}",) if others else ()
    return [Path(folder) / name for name in taken], notes


def open_parquet(paths: Sequence[str | Path], notes: Sequence[str] = ()) -> Table:
    """The pictures of Parquet files of the same columns, in the order of their rows; `choose` says which are read.

    A picture without a name of its own is called 'file.parquet[row]'. Pictures stay in their files, encoded, until they
    are asked for; then two groups of rows are held at most. The fingerprint covers captions, labels, and each file's
    size and footer (which tells place and size of every column in every group), not the pictures' bytes.

    Raises InputError if pyarrow is not installed; DataError, naming the file, for one that is damaged, that has no
    column of pictures or other columns than the first file, or whose groups are too large to hold.
    """
    pa = needed("pyarrow", "parquet", printable(str(paths[0])))
    files = [_open(path) for path in paths]
    columns = choose(files[0].schema, files[0].shown)
    for file in files:
        _check_columns(file, columns, files[0])
        _check_groups(file, columns.image)
    names = [f"{printable(file.path.name)}[{i}]" for file in files for i in range(sum(file.groups))]
    table = pa.concat_tables([_described(file, columns) for file in files])
    said = describe(columns, table, names, files[0].shown)
    cells = _Cells(files, columns.image)
    return Table(
        names=said.names,
        read=lambda i: encoded(cells[i], said.names[i]),
        fingerprint=digest(*("parquet", *(file.footprint for file in files)), repr((said.labels, said.texts))),
        classes=said.classes,
        labels=said.labels,
        texts=said.texts,
        notes=(*notes, *said.notes),
    )


@dataclass(frozen=True)
class _File:
    """What a Parquet file's footer says. `groups` holds the number of rows of each group."""

    path: Path
    metadata: "FileMetaData"
    schema: "pyarrow.Schema"
    groups: tuple[int, ...]
    footprint: str

    @property
    def shown(self) -> str:
        return printable(str(self.path))


class _Cells:
    """The cells of one column by row, over all files; a group is read when one of its rows is, from any thread."""

    def __init__(self, files: Sequence[_File], column: str) -> None:
        self._groups = [(file, g) for file in files for g in range(len(file.groups))]
        self._starts = [0, *accumulate(rows for file in files for rows in file.groups)]
        self._column = column
        self._held: dict[int, pyarrow.ChunkedArray] = {}
        self._lock = Lock()

    def __getitem__(self, i: int) -> Any:
        group = bisect_right(self._starts, i) - 1
        file, number = self._groups[group]
        with self._lock, _whole(file.shown):
            if group not in self._held:
                self._held[group] = _read_group(file, number, self._column)
                if len(self._held) > _HELD:
                    del self._held[next(iter(self._held))]
            return self._held[group][i - self._starts[group]].as_py()


def _open(path: str | Path) -> _File:
    from pyarrow.parquet import ParquetFile

    with _whole(printable(str(path))), open(path, "rb") as stream, ParquetFile(path) as file:
        metadata = file.metadata
        size = os.fstat(stream.fileno()).st_size
        stream.seek(-min(size, metadata.serialized_size + 8), os.SEEK_END)
        footer = hashlib.sha256(stream.read()).hexdigest()
        groups = tuple(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))
        return _File(Path(path), metadata, file.schema_arrow, groups, f"{size} {footer}")


def _check_columns(file: _File, columns: Columns, first: _File) -> None:
    """Raises DataError unless the file has the columns and classes of the first one."""
    used = [columns.image, *columns.described]
    for name in used:
        kind = file.schema.field(name).type if file.schema.names.count(name) == 1 else None
        if kind != first.schema.field(name).type:
            wanted = (
                f"expected a column '{name}' of {first.schema.field(name).type}, as in {printable(first.path.name)}"
            )
            raise DataError(f"{file.shown}: {wanted}, came {kind or 'none'}; give the files one by one")
    if columns.label is not None and class_names(file.schema, columns.label) != columns.classes:
        raise DataError(f"{file.shown}: expected the classes of {printable(first.path.name)}, came others; convert one")


def _check_groups(file: _File, image: str) -> None:
    """Raises DataError unless every group can be held and there can be as many rows as the footer says."""
    for g in range(len(file.groups)):
        group = file.metadata.row_group(g)
        chunks = (group.column(c) for c in range(group.num_columns))
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == image)
        if size > MAX_GROUP_BYTES:
            wanted = f"expected at most {amount(MAX_GROUP_BYTES)} of pictures in a group of rows"
            raise DataError(f"{file.shown}: {wanted}, came {amount(size)}; write it with a smaller row_group_size")
    if sum(file.groups) > os.path.getsize(file.path):
        raise DataError(f"{file.shown}: expected a byte a row at least, came {sum(file.groups):,} rows; fetch it again")


def _described(file: _File, columns: Columns) -> "pyarrow.Table":
    """All columns but the pictures'."""
    from pyarrow.parquet import ParquetFile

    with _whole(file.shown), ParquetFile(file.path, metadata=file.metadata) as opened:
        table = opened.read(columns.described)
        if columns.described and len(table) != sum(file.groups):
            raise ValueError(f"{len(table):,} rows of {sum(file.groups):,}")
        return table


def _read_group(file: _File, number: int, column: str) -> "pyarrow.ChunkedArray":
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file.path, metadata=file.metadata) as opened:
        return opened.read_row_group(number, [column]).column(column)


@contextmanager
def _whole(shown: str) -> Iterator[None]:
    """Says of whatever goes wrong in reading a file that the file is damaged."""
    try:
        yield
    except Exception as error:  # pyarrow raises many kinds on broken bytes
        detail = printable(" ".join(str(error).split()))
        raise DataError(
            f"{shown}: expected a whole Parquet file, came damaged data ({detail}); fetch it again"
        ) from error
