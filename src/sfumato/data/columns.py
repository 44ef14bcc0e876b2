"""Which columns of an Arrow table hold data, labels, captions and names: shared by Parquet files and the Hub."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sfumato.data.captions import CAPTION_KEYS, first_given, note_bare, stripped
from sfumato.data.decoder import NUMBERS, Kept
from sfumato.data.table import MAX_CLASSES
from sfumato.errors import DataError
from sfumato.media import Image, Medium
from sfumato.wording import brief, count, few, printable

if TYPE_CHECKING:
    from pyarrow import Array, ChunkedArray, DataType, Schema

LABELS = ("label", "class")
NAMES = ("name", "file_name")
CONDITIONING = ("conditioning_image",)
"""As the training scripts of diffusers call it."""
MAX_METADATA = 2**22


@dataclass(frozen=True)
class Columns:
    """The columns that are read: the data's, and those of conditioning images, captions, labels and names where there
    are any.

    `kinds` are their types; `classes` the names of whole-number labels, where a schema carries them.
    """

    data: str
    conditioning: str | None
    captions: tuple[str, ...]
    label: str | None
    name: str | None
    kinds: "Mapping[str, DataType]"
    classes: tuple[str, ...]

    @property
    def encoded(self) -> list[str]:
        """Those of data and conditioning images."""
        return [self.data, *([] if self.conditioning is None else [self.conditioning])]

    @property
    def described(self) -> list[str]:
        """All others."""
        return [*self.captions, *(column for column in (self.label, self.name) if column is not None)]


@dataclass(frozen=True)
class Described:
    """What the columns hold: an entry a datum in each field, or None in it where there is nothing."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None
    texts: tuple[tuple[str, ...], ...] | None
    notes: tuple[str, ...]


def choose_columns(schemas: "Sequence[Schema]", where: str, medium: Medium) -> Columns:
    """The columns to read from tables that belong together, by name, whose case does not count, and type.

    - The data's is binary, or the Hub's struct of `bytes` and `path`: the first so typed of the medium's `columns`, or
      else the only one so typed. Beside pictures, those that they are conditioned on are the first of `CONDITIONING`.
      Data of the media `NUMBERS` may also be lists of real numbers, row by row.
    - Captions are strings or lists of them: all of `CAPTION_KEYS`, of which the first with a text in a row counts.
    - Labels are strings or whole numbers: the first of `LABELS`. Names for the numbers are the Hub's ClassLabel, which
      lies in the schema's metadata.
    - Names of data are strings: the first of `NAMES`.

    A column counts by the first table in which its type is not `null`; it is of no use where there is none.

    Raises DataError, naming `where`, if no one column can be the data's, if two of those read are of one name, or if
    captions or labels are of another type.
    """
    kinds = _kinds(schemas)
    encoded = [name for name, kind in kinds.items() if _is_encoded(kind)]
    conditioning = _first(CONDITIONING, encoded) if isinstance(medium, Image) and len(encoded) > 1 else None
    encoded = [name for name in encoded if name != conditioning]
    listed = isinstance(medium, NUMBERS)
    encoded += [name for name, kind in kinds.items() if listed and _is_numbers(kind)]
    data = _first(medium.columns, encoded) or (encoded[0] if len(encoded) == 1 else None)
    if data is None:
        forms = f"binary, {'lists of numbers, ' if listed else ''}or a struct of bytes and path"
        wanted = f"one column of encoded {medium.plural} ({forms})"
        came = f"{len(encoded)}: {few(encoded)}" if encoded else f"only {few([f'{n}: {t}' for n, t in kinds.items()])}"
        raise DataError(
            f"{where}: expected {wanted}, came {came or 'none'}; name the {medium.plural}' column '{medium.columns[0]}'"
        )
    captions = [name for wanted in CAPTION_KEYS if (name := _first((wanted,), kinds))]
    if captions and not _is_text(_inner(kinds[captions[0]])):
        wanted = "expected strings or lists of strings as captions"
        came = f"came {brief(str(kinds[captions[0]]))}; rename the column or take it out"
        raise DataError(f"{where} '{captions[0]}': {wanted}, {came}")
    label = _first(LABELS, kinds)
    if label is not None and not (_is_text(kinds[label]) or _is_whole(kinds[label])):
        wanted = "expected strings or whole numbers as labels"
        raise DataError(
            f"{where} '{label}': {wanted}, came {brief(str(kinds[label]))}; rename the column or take it out"
        )
    name = _first(NAMES, [name for name in kinds if _is_text(kinds[name])])
    numbered = label is not None and _is_whole(kinds[label])
    classes = next(filter(None, (class_names(schema, label or "") for schema in schemas)), ()) if numbered else ()
    texts = tuple(column for column in captions if _is_text(_inner(kinds[column])))
    chosen = Columns(data, conditioning, texts, label, name, kinds, classes)
    for schema in schemas:
        for column in (*chosen.encoded, *chosen.described):
            if (many := schema.names.count(column)) > 1:
                raise DataError(f"{where}: expected one column '{column}', came {many}; rename or take out the others")
    return chosen


def kind_of(schema: "Schema", column: str) -> "DataType | None":
    """The type of a column's values; None if it is not there."""
    return _plain(schema.field(schema.names.index(column)).type) if column in schema.names else None


def agrees(kind: "DataType | None", other: "DataType") -> bool:
    """Whether a column may be of one type here and of the other there: Arrow has several spellings of the same."""
    from pyarrow import types

    if kind is None or types.is_null(kind):
        return kind is not None
    sorts = (_is_encoded, _is_numbers, _is_whole, lambda k: _is_text(_inner(k)))
    return any(is_one(kind) and is_one(other) for is_one in sorts)


def cells(column: "Array | ChunkedArray") -> list[Any]:
    """The column's values. Bytes that are no UTF-8 come as halves of surrogate pairs, which `mended` looks for."""
    from pyarrow import ChunkedArray, DictionaryArray, compute, large_binary

    if isinstance(column, ChunkedArray):
        return [value for chunk in column.chunks for value in cells(chunk)]
    if isinstance(column, DictionaryArray):  # each value once, however often it stands there
        values = cells(column.dictionary)
        return [None if i is None else values[i] for i in column.indices.to_pylist()]
    if any(is_one(column.type) for is_one in _lists()):
        items = iter(cells(column.flatten()))  # pyright: ignore[reportAttributeAccessIssue]
        lengths = compute.call_function("list_value_length", [column]).to_pylist()
        return [None if length is None else list(islice(items, length)) for length in lengths]
    if not _is_text(column.type):
        return column.to_pylist()
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        data = column.cast(large_binary()).to_pylist()
        return [None if one is None else one.decode("utf-8", "surrogateescape") for one in data]


def interpret_columns(
    columns: Columns, values: Mapping[str, list[Any]], names: Sequence[str], where: str, medium: Medium
) -> Described:
    """Names, classes, labels and captions of n data from the columns' `values`; `names` are for data without their own.

    Data without a caption are counted and named in the notes. So are data without a label (null, or the Hub's −1), and
    then there are no classes.

    Raises DataError, naming `where`, for no datum at all and for labels beyond the classes.
    """
    if not names:
        raise DataError(f"{where}: expected at least one {medium.noun}, came no rows; add some")
    notes: list[str] = []
    if columns.name:
        names = [printable(own) if own else name for own, name in zip(values[columns.name], names, strict=True)]
    classes, labels = (), None
    if columns.label is not None:
        classes, labels = _labels(values[columns.label], columns, names, where, notes, medium)
    texts = None
    if columns.captions:
        rows = zip(*(values[column] for column in columns.captions), strict=True)
        texts = tuple(stripped(first_given(row)) for row in rows)
        note_bare([name for name, own in zip(names, texts, strict=True) if not own], len(names), notes, medium)
    return Described(tuple(names), classes, labels, texts if any(texts or ()) else None, tuple(notes))


def kept_in(cell: Any, name: str, medium: Medium) -> Kept:
    """The datum in a cell: its bytes, plain or in the Hub's struct, or its numbers, float32 [n]. Raises DataError,
    naming it, if there are none."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, list) and None not in data:
        return np.array(data, np.float32)
    if not isinstance(data, bytes):
        raise DataError(f"{name}: expected a {medium.noun}'s bytes, came null; fill the row or take it out")
    return data


def conditioning_names(names: Sequence[str]) -> tuple[str, ...]:
    """What messages call the conditioning images in the rows of data of these names."""
    return tuple(f"{CONDITIONING[0]} of {name}" for name in names)


def class_names(schema: "Schema", label: str) -> tuple[str, ...]:
    """The names of a ClassLabel; none if the metadata, which anyone may have written, holds none that can be read."""
    try:
        text = (schema.metadata or {})[b"huggingface"]
        about = json.loads(text if len(text) <= MAX_METADATA else b"")
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _labels(
    values: list[Any], columns: Columns, names: Sequence[str], where: str, notes: list[str], medium: Medium
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    bare = [name for name, value in zip(names, values, strict=True) if value is None or value == -1]
    if bare:
        has = "has" if len(bare) == 1 else "have"
        notes.append(f"no classes: {len(bare):,} of {count(len(names), medium.noun)} {has} no label: {few(bare)}")
        return (), None
    if isinstance(values[0], str):
        classes = tuple(sorted(set(values)))
        index = {name: i for i, name in enumerate(classes)}
        return classes, tuple(index[value] for value in values)
    low, high, most = min(values), max(values), len(columns.classes) or MAX_CLASSES
    if low < 0 or high >= most:
        wanted = f"expected labels 0 to {most - 1}"
        raise DataError(f"{where} '{columns.label}': {wanted}, came {low} to {high}; number classes from 0")
    return columns.classes or tuple(str(i) for i in range(high + 1)), tuple(values)


def _plain(kind: "DataType") -> "DataType":
    """The type of the values, also of a column that holds them through a dictionary."""
    return getattr(kind, "value_type", kind) if str(kind).startswith("dictionary") else kind


def _inner(kind: "DataType") -> "DataType":
    """The type of a list's items, else the type."""
    return _plain(getattr(kind, "value_type", kind)) if any(is_one(kind) for is_one in _lists()) else kind


def _lists() -> "tuple[Callable[[DataType], bool], ...]":
    from pyarrow import types

    return types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view


def _kinds(schemas: "Sequence[Schema]") -> "dict[str, DataType]":
    """The columns of the first table, with the type of their values in the first table where it is not `null`."""
    from pyarrow import types

    known = {name: [kind_of(schema, name) for schema in schemas] for name in schemas[0].names}
    typed = {
        name: [kind for kind in kinds if kind is not None and not types.is_null(kind)] for name, kinds in known.items()
    }
    return {name: kinds[0] for name, kinds in typed.items() if kinds}


def _first(wanted: Sequence[str], there: Iterable[str]) -> str | None:
    """The first of the names wanted, as it is spelled there."""
    return next((name for want in wanted for name in there if name.casefold() == want), None)


def _is_encoded(kind: "DataType") -> bool:
    from pyarrow import StructType, types

    if isinstance(kind, StructType):
        return "bytes" in {field.name for field in kind} and _is_encoded(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _is_text(kind: "DataType") -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_numbers(kind: "DataType") -> bool:
    from pyarrow import types

    return _inner(kind) is not kind and types.is_floating(_inner(kind))


def _is_whole(kind: "DataType") -> bool:
    from pyarrow import types

    return types.is_integer(kind)
