"""Data from the Hugging Face Hub, fetched and kept by its own library."""

import re
from dataclasses import dataclass
from typing import Any, Self

from sfumato.data.columns import cells, choose_columns, conditioning_names, interpret_columns, kept_in
from sfumato.data.decoder import Kept
from sfumato.data.folder import read_file
from sfumato.data.table import TableSource, repr_chunks, sha256_of
from sfumato.errors import InputError, NotFoundError, nearest, quoted
from sfumato.extras import import_extra
from sfumato.media import Medium
from sfumato.wording import QUOTED, brief, few, shortened

HUB_PREFIX = "hub:"
_SPELLED = re.compile(
    r"hub:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?((/(?P<config>[^/]+))?/(?P<split>[^/]+))?"
)


def open_hub(where: str, medium: Medium) -> TableSource:
    """The medium's data in a data set on the Hub: `hub:OWNER/NAME[@REVISION][[/CONFIG]/SPLIT]`.

    Without a split, 'train' is taken, or the only one there is; a split may be cut, as in 'train[:1000]'. A revision
    is a branch, a tag or a commit. See `choose_columns` for the columns that are read. It is fetched once and then lies
    in the library's own cache; data stay there, encoded, until they are asked for. The fingerprint covers the
    number of rows, captions, labels and the size of the data, not the data's bytes.

    Raises InputError for another spelling, an unknown split, or if the library datasets is not installed; DataError if
    the data set cannot be fetched or has no column of data.
    """
    spelled = _SPELLED.fullmatch(where)
    shown = brief(where)
    if spelled is None:
        raise InputError(f"expected hub:OWNER/NAME[@REVISION][[/CONFIG]/SPLIT], came {shown!r}; spell it so")
    library = import_extra("datasets", "hub", shown)
    name, config, revision = spelled["name"], spelled["config"], spelled["revision"]
    splits = _fetched(shown, library.get_dataset_split_names, name, config, revision=revision)
    split = _split(spelled["split"], splits, shown)
    rows = _fetched(shown, library.load_dataset, name, config, split=split, revision=revision)

    columns = choose_columns([rows.features.arrow_schema], shown, medium)
    table = rows.select_columns(columns.described).with_format("arrow")[:]
    values = {column: cells(table.column(column)) for column in columns.described}
    own = interpret_columns(columns, values, [f"{name}/{split}[{i}]" for i in range(len(rows))], shown, medium)
    size = (len(rows), rows.info.dataset_size)
    conditioning = None
    if columns.conditioning is not None:
        names = conditioning_names(own.names)
        read = _Cells.of(rows, columns.conditioning, names, medium)
        conditioning = TableSource(medium, names, read, sha256_of("hub", repr(size), columns.conditioning))
    return TableSource(
        medium=medium,
        names=own.names,
        read=_Cells.of(rows, columns.data, own.names, medium),
        fingerprint=sha256_of("hub", repr_chunks(*size, own.labels, texts=own.texts)),
        classes=own.classes,
        labels=own.labels,
        texts=own.texts,
        notes=own.notes,
        conditioning=conditioning,
    )


def _split(asked: str | None, there: list[str], shown: str) -> str:
    """The split to read."""
    if asked is None:
        if "train" in there or len(there) == 1:
            return "train" if "train" in there else there[0]
        raise InputError(f"{shown}: expected a split, since none is called train, came {few(there)}; add one: /SPLIT")
    if asked.partition("[")[0] not in there:
        raise InputError(
            f"{shown}: expected a split that the data set has, came {quoted(asked)}; {nearest(asked[:QUOTED], there)}"
        )
    return asked


def _fetched(shown: str, fetch: Any, *arguments: Any, **named: Any) -> Any:
    """What the library fetches; its errors, of many kinds, become one."""
    try:
        return fetch(*arguments, **named)
    except Exception as error:
        detail = shortened(f"{type(error).__name__}: {error}", 2 * QUOTED)
        wanted = "expected a data set that can be fetched from the Hugging Face Hub"
        raise NotFoundError(f"{shown}: {wanted}, came {detail}; check its name, the network and your login") from error


@dataclass(frozen=True)
class _Cells:
    """The data in one column by row: the bytes in the cell, or in the file that the library has put them in."""

    rows: Any
    column: str
    names: tuple[str, ...]
    medium: Medium

    @classmethod
    def of(cls, rows: Any, column: str, names: tuple[str, ...], medium: Medium) -> Self:
        # In Arrow's form no feature is decoded: the library's own decoder would trust the data.
        return cls(rows.select_columns([column]).with_format("arrow"), column, names, medium)

    def __call__(self, i: int) -> Kept:
        cell, name = self.rows[i].column(self.column)[0].as_py(), self.names[i]
        if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
            return read_file(cell["path"], name)
        return kept_in(cell, name, self.medium)
