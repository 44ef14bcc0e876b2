"""Which columns of an Arrow table say what of a picture, and what they say: shared by Parquet files and the Hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sfumato.data.captions import note_bare
from sfumato.errors import DataError, InputError
from sfumato.wording import count, few, printable

if TYPE_CHECKING:
    from pyarrow import DataType, Schema, Table

IMAGES = ("image", "img", "picture")
CAPTIONS = ("text", "captions", "caption")
LABELS = ("label", "class")
NAMES = ("name", "file_name")
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Columns:
    """The columns that are read: the pictures', and those of captions, labels and names where there are any.

    `classes` are the names of whole-number labels, where the schema carries them.
    """

    image: str
    caption: str | None
    label: str | None
    name: str | None
    classes: tuple[str, ...]

    @property
    def described(self) -> list[str]:
        """All but the pictures'."""
        return [column for column in (self.caption, self.label, self.name) if column is not None]


@dataclass(frozen=True)
class Described:
    """What the columns say: an entry a picture in each field, or None in it when they say nothing."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None
    texts: tuple[tuple[str, ...], ...] | None
    notes: tuple[str, ...]


def choose(schema: "Schema", where: str) -> Columns:
    """The columns to read, by name and type.

    - The pictures' is binary, or the Hub's struct of `bytes` and `path`: the first so typed of `IMAGES`, or else the
      only one so typed.
    - Captions are strings or lists of them: the first of `CAPTIONS`.
    - Labels are strings or whole numbers: the first of `LABELS`. Names for the numbers are the Hub's ClassLabel, which
      lies in the schema's metadata.
    - Names of pictures are strings: the first of `NAMES`.

    Raises DataError, naming `where`, if no one column can be the pictures', or captions or labels are of another type.
    """
    types = {name: _plain(schema.field(i).type) for i, name in enumerate(schema.names)}
    encoded = [name for name, kind in types.items() if _is_encoded(kind)]
    image = next((name for name in IMAGES if name in encoded), encoded[0] if len(encoded) == 1 else None)
    if image is None:
        wanted = "one column of encoded pictures (binary, or a struct of bytes and path)"
        came = f"{len(encoded)}: {few(encoded)}" if encoded else f"only {few([f'{n}: {t}' for n, t in types.items()])}"
        raise DataError(f"{where}: expected {wanted}, came {came or 'none'}; name the pictures' column 'image'")
    caption = next((name for name in CAPTIONS if name in types), None)
    if caption is not None and not _is_text(_inner(types[caption])):
        wanted = "expected strings or lists of strings as captions"
        raise DataError(f"{where} '{caption}': {wanted}, came {types[caption]}; rename the column or take it out")
    label = next((name for name in LABELS if name in types), None)
    if label is not None and not (_is_text(types[label]) or _is_whole(types[label])):
        wanted = "expected strings or whole numbers as labels"
        raise DataError(f"{where} '{label}': {wanted}, came {types[label]}; rename the column or take it out")
    name = next((name for name in NAMES if name in types and _is_text(types[name])), None)
    classes = class_names(schema, label) if label is not None and _is_whole(types[label]) else ()
    return Columns(image, caption, label, name, classes)


def describe(columns: Columns, table: "Table", names: Sequence[str], where: str) -> Described:
    """What the columns in `table`, of n pictures, say of them; `names` are for pictures without a name of their own.

    Pictures without a caption are counted and named in the notes. So are those without a label (null, or the Hub's
    −1), and then there are no classes.

    Raises DataError, naming `where`, for no picture at all and for labels beyond the classes.
    """
    if not names:
        raise DataError(f"{where}: expected at least one picture, came no rows; add some")
    notes: list[str] = []
    given = table.column(columns.name).to_pylist() if columns.name else [None] * len(names)
    names = tuple(printable(own) if own else name for own, name in zip(given, names, strict=True))
    classes, labels = (), None
    if columns.label is not None:
        classes, labels = _labels(table.column(columns.label).to_pylist(), columns, names, where, notes)
    texts = None
    if columns.caption is not None:
        texts = tuple(_texts(value) for value in table.column(columns.caption).to_pylist())
        note_bare([name for name, own in zip(names, texts, strict=True) if not own], len(names), notes)
    return Described(names, classes, labels, texts if any(texts or ()) else None, tuple(notes))


def encoded(cell: Any, name: str) -> bytes:
    """The picture's bytes in a cell, plain or the Hub's struct. Raises DataError, naming it, if there are none."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise DataError(f"{name}: expected a picture's bytes, came null; fill the row or take it out")
    return data


def needed(package: str, extra: str, where: str) -> Any:
    """The package that reads `where`. Raises InputError, saying what to install, if it is absent."""
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{where}: expected {package}, which is not installed: pip install sfumato[{extra}]"
        ) from error


def class_names(schema: "Schema", label: str) -> tuple[str, ...]:
    """The names of a ClassLabel; none if the metadata, which anyone may have written, holds none that can be read."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def _texts(value: Any) -> tuple[str, ...]:
    """The captions in one cell. One that stands there twice stays so, and is drawn twice as often."""
    texts = [] if value is None else [value] if isinstance(value, str) else value
    return tuple(stripped for text in texts if text is not None and (stripped := text.strip()))


def _labels(
    values: list[Any], columns: Columns, names: Sequence[str], where: str, notes: list[str]
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    bare = [name for name, value in zip(names, values, strict=True) if value is None or value == -1]
    if bare:
        has = "has" if len(bare) == 1 else "have"
        notes.append(f"no classes: {len(bare):,} of {count(len(names), 'picture')} {has} no label: {few(bare)}")
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
    from pyarrow import types

    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return _plain(getattr(kind, "value_type", kind)) if any(is_one(kind) for is_one in lists) else kind


def _is_encoded(kind: "DataType") -> bool:
    from pyarrow import StructType, types

    if isinstance(kind, StructType):
        return "bytes" in {field.name for field in kind} and _is_encoded(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _is_text(kind: "DataType") -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_whole(kind: "DataType") -> bool:
    from pyarrow import types

    return types.is_integer(kind)
